"""How well a model predicts masked tokens and next sentences of documents that it was not trained on."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from bertjob.errors import DataError
from bertjob.rundir.held_run import HeldRun
from bertjob.text import reason
from bertjob.train.data.batch import Batch, Int64
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.model.heads import predictions


@torch.no_grad()
def evaluate(
    model: nn.Module,
    make: Callable[[Int64], Batch],
    positions: Int64,
    micro_batch: int,
    device: torch.device,
    ranks: Ranks,
    held: HeldRun | None,
) -> dict[str, float]:
    """Predict on all ranks and add up; every rank does the same number of forward passes.

    Args:
        model: as a back end has wrapped it.
        make: makes a batch of the samples at some positions.
        positions: of all samples to evaluate on.
        micro_batch: samples a pass at most.
        device: where the model is.
        ranks: all ranks.
        held: the run, where rank 0 writes eval.json; None: nothing is written.

    Returns:
        On rank 0 `mlm_loss` (nats a masked token), `mlm_accuracy` and, with pairs, `nsp_accuracy` and `nsp_chance`,
        the accuracy of always giving the more frequent answer (per cent); else nothing. Of no masked token both are 0.

    Raises:
        DataError: the file cannot be written.
        LeaseError: another start has taken the run directory over.
    """
    shares = [positions[first : first + micro_batch] for first in range(0, len(positions), micro_batch)]
    size, rank = ranks.world.size, ranks.world.rank
    own = [(share, True) for share in shares[rank::size]]
    own += [(shares[0], False)] * (-(-len(shares) // size) - len(own))  # counted by another rank
    sums = torch.zeros(6, dtype=torch.float64)
    was_training = model.training
    model.eval()
    for share, counts in own:
        found = _of_batch(model, make(share).to(device))
        sums += found if counts else 0
    model.train(was_training)
    loss, right, tokens, right_pairs, random, pairs = ranks.sum(*sums.tolist())
    if not ranks.first:
        return {}
    metrics = {"mlm_loss": loss / max(1, tokens), "mlm_accuracy": 100 * right / max(1, tokens)}
    if pairs:
        metrics["nsp_accuracy"] = 100 * right_pairs / pairs
        metrics["nsp_chance"] = 100 * max(random, pairs - random) / pairs
    if held is None:
        return metrics
    try:
        held.write_json(held.there.evaluation, {**metrics, "masked_tokens": int(tokens), "samples": len(positions)})
    except OSError as error:
        raise DataError(f"{held.run_dir.evaluation}: cannot be written: {reason(error)}") from None
    return metrics


def _of_batch(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Sum of losses, right tokens, tokens, right pairs, random pairs, pairs: float64 ``[6]``, on the CPU."""
    scores, answers = predictions(model, batch)
    labels = batch.targets["mask_labels"]
    loss = functional.cross_entropy(scores.float(), labels, reduction="sum")
    right = (scores.argmax(-1) == labels).sum()
    found = [loss, right, torch.tensor(len(labels))]
    if answers is None:
        found += [torch.tensor(0)] * 3
    else:
        random = batch.targets["next_sentence"]
        found += [(answers.argmax(-1) == random).sum(), random.sum(), torch.tensor(batch.size)]
    return torch.stack([value.double().cpu() for value in found])
