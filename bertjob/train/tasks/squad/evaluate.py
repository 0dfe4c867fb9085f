"""A model answers questions; the answers, the n best and their score become a run's files."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bertjob.config.job import Job
from bertjob.errors import DataError
from bertjob.formats.squad import SquadSet
from bertjob.formats.squad_score import Predictions, score
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.world import World
from bertjob.text import reason
from bertjob.train.model.heads import span_logits
from bertjob.train.tasks.squad.batches import collate, evaluation_shares
from bertjob.train.tasks.squad.decode import Answer, Candidates, best_answers, window_candidates
from bertjob.train.tasks.squad.features import Features


@dataclass(frozen=True)
class Dev:
    """Questions to answer, and their samples."""

    data: SquadSet
    features: Features


@torch.no_grad()
def answer(
    model: nn.Module,
    dev: Dev,
    job: Job,
    device: torch.device,
    world: World,
    on_read: Callable[[int, int], object] = lambda read, samples: None,
) -> dict[int, list[Answer]]:
    """Answer this rank's share of the questions; all ranks do the same number of forward passes.

    Args:
        model: reads them.
        dev: the questions.
        job: says how many samples a pass has, and how answers are chosen.
        device: where the model is.
        world: this rank's place.
        on_read: is told after each pass how many samples this rank has read, of all samples.

    Returns:
        For each index of a question of the share its n best answers, best first.
    """
    features, evaluation = dev.features, job.evaluation
    windows: dict[int, list[tuple[int, Candidates]]] = {}
    read = 0
    was_training = model.training
    model.eval()
    for samples, counts in evaluation_shares(
        features.lengths, features.question, world.rank, world.size, evaluation.micro_batch
    ):
        batch = collate(features, samples, job.train.batching, job.train.max_seq_length)
        start, end = (logits.cpu().numpy() for logits in span_logits(model, batch.to(device)))
        if counts:
            found = window_candidates(features, samples, start, end, evaluation.n_best, evaluation.max_answer_length)
            for sample, candidates in zip(samples.tolist(), found, strict=True):
                windows.setdefault(int(features.question[sample]), []).append((sample, candidates))
        read += len(samples)
        on_read(read, len(features.lengths))
    model.train(was_training)

    answers = {}
    for index, found_windows in windows.items():
        context = dev.data.paragraphs[dev.data.questions[index].paragraph].context
        in_order = [candidates for _, candidates in sorted(found_windows, key=lambda pair: pair[0])]
        answers[index] = best_answers(in_order, context, evaluation.n_best)
    return answers


def write_evaluation(held: HeldRun | None, data: SquadSet, answers: Mapping[int, Sequence[Answer]]) -> dict[str, float]:
    """Score answers; write predictions.json, nbest_predictions.json and eval.json, each whole or not at all.

    Args:
        held: the run; None: nothing is written.
        data: the questions.
        answers: the n best of each question, by its index.

    Returns:
        exact_match and f1, in per cent.

    Raises:
        DataError: a file cannot be written.
        LeaseError: another start has taken the run directory over.
    """
    by_id = {question.id: answers[index] for index, question in enumerate(data.questions)}
    texts = {id: best[0].text for id, best in by_id.items()}
    nbest = {id: [_scored(answer) for answer in best] for id, best in by_id.items()}
    result = score(data, Predictions(texts))
    metrics = {"exact_match": result.exact_match, "f1": result.f1}
    if held is None:
        return metrics
    try:
        held.write_json(held.there.predictions, texts)
        held.write_json(held.there.nbest, nbest)
        held.write_json(held.there.evaluation, {**metrics, "total": result.total, "duplicated": result.duplicated})
    except OSError as error:
        raise DataError(f"{held.run_dir.path}: the predictions cannot be written: {reason(error)}") from None
    return metrics


def _scored(answer: Answer) -> dict[str, str | float]:
    return {
        "text": answer.text,
        "probability": answer.probability,
        "start_logit": answer.start_logit,
        "end_logit": answer.end_logit,
    }
