"""Question answering as a task of the training: batches, the loss, and answers to the dev questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertjob.config.checks.batch_size import total_steps
from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.errors import SpecError
from bertjob.formats.squad import SquadSet, load
from bertjob.rundir.held_run import HeldRun
from bertjob.train.data.batch import Batch
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.model.heads import span_logits
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.model.locate import bring, tokenizer_folder
from bertjob.train.tasks.squad.batches import Order, collate
from bertjob.train.tasks.squad.cache import shared_features
from bertjob.train.tasks.squad.decode import Answer
from bertjob.train.tasks.squad.evaluate import Dev, answer, write_evaluation
from bertjob.train.tasks.squad.features import Features, Settings


def span_loss(start_logits: Tensor, end_logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Mean over the samples of the cross-entropies of first and last token (Devlin et al., arXiv 1810.04805, 4.2).

    Args:
        start_logits: float32 ``[B, L]``, minus infinity where a sample has no token.
        end_logits: the same for the last token.
        targets: int64 ``[B]`` each, `start_positions` and `end_positions`.

    Returns:
        A scalar, float32.
    """
    start = functional.cross_entropy(start_logits, targets["start_positions"])
    end = functional.cross_entropy(end_logits, targets["end_positions"])
    return (start + end) / 2


@dataclass(frozen=True)
class SquadTask:
    """The task `squad`; see bertjob.train.tasks.Task.

    Attributes:
        job: what to train.
        held: the run directory, where predictions.json, nbest_predictions.json and eval.json go.
        ranks: all ranks.
        device: where the model is.
        model: with its first weights.
        tokenizer: the model's.
        features: the training samples.
        order: which of them form which micro batch.
        dev: None where the job has no dev questions.
    """

    job: Job
    held: HeldRun
    ranks: Ranks
    device: torch.device
    model: nn.Module
    tokenizer: BertTokenizer
    features: Features
    order: Order
    dev: Dev | None

    @classmethod
    def from_job(cls, job: Job, held: HeldRun, ranks: Ranks, device: torch.device) -> "SquadTask":
        """Read the data, make or map the features, build the model; called by all ranks at the same time.

        Raises:
            SpecError: the job names no training data, or its lengths leave no room for a context.
            DataError: the data, the tokenizer or the model cannot be read, or the cache cannot be written.
        """
        if job.data.train is None:
            raise SpecError("data.train is not said: a SQuAD v1.1 file, or `demo`")
        settings = Settings.of(job.train)
        ranks.from_first(lambda: bring(job), None)  # so that the hub is asked by one rank and not by all at once
        tokenizer = load_tokenizer(tokenizer_folder(job))
        cache = expand(job.data.cache) if job.data.cache else held.run_dir.path.parent / ".cache"

        def samples_of(data: SquadSet) -> Features:
            return shared_features(data, tokenizer, settings, cache, leader=ranks.first, barrier=ranks.barrier)

        features = samples_of(load(job.data.train, "train"))
        dev = None
        if job.data.dev is not None:
            data = load(job.data.dev, "dev")
            dev = Dev(data, samples_of(data))
        train = job.train
        order = Order(
            features.lengths,
            job.seed,
            train.global_batch,
            train.micro_batch,
            total_steps(len(features), train.epochs, train.global_batch, train.max_steps),
            train.batching,
        )
        return cls(job, held, ranks, device, build_question_answering(job), tokenizer, features, order, dev)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""
        return self.order.steps

    def micro_batches(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        """The micro batches that `rank` takes in step `step` (from 0)."""
        train = self.job.train
        shares = self.order.micro_batches(step)[rank::world_size]
        return [collate(self.features, samples, train.batching, train.max_seq_length) for samples in shares]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss over the samples of one micro batch: a scalar, float32."""
        return span_loss(*span_logits(model, batch), batch.targets)

    def evaluate(self, model: nn.Module, *, final: bool = True) -> Mapping[str, float]:
        """Answer the dev questions on all ranks, score on rank 0; there the metrics, else nothing.

        The final answers are written into their files.

        Raises:
            DataError: a file cannot be written.
            LeaseError: another start has taken the run directory over.
        """
        if self.dev is None:
            return {}
        own = answer(model, self.dev, self.job, self.device, self.ranks.world)
        found = self.ranks.gather(own, dict[int, list[Answer]])
        if not self.ranks.first:
            return {}
        answers = {index: best for share in found for index, best in share.items()}
        return write_evaluation(self.held if final else None, self.dev.data, answers)

    def save_tokenizer(self, folder: str) -> None:
        """Write the tokenizer's files beside a saved model."""
        self.tokenizer.save(Path(folder))
