"""How many steps of a training exchange what: in full precision, one bit a value, or nothing."""

import msgspec

from bertjob.config.checks.settling import earliest
from bertjob.config.job import Optimizer

WARM_UP = 0.15
"""Share of the steps before the freeze where the job does not say it: the papers' for pre-training."""


class Rounds(msgspec.Struct, frozen=True):
    """Shares of all steps.

    Attributes:
        full: exchange gradients in full precision.
        compressed: exchange one bit a value.
    """

    full: float
    compressed: float

    @property
    def silent(self) -> float:
        """Exchange nothing: the local steps of 0/1 Adam."""
        return 1.0 - self.full - self.compressed


def rounds(optimizer: Optimizer, steps: int | None) -> Rounds:
    """The rounds of a 1-bit optimizer.

    Args:
        optimizer: of the job; a freeze that is `auto` or not said comes after `WARM_UP` of the steps, `auto` not
            before it can.
        steps: of the training; None where that is not known, and then shares are those of the papers.
    """
    said = optimizer.freeze_step
    total = steps or 100_000
    frozen = round(WARM_UP * total)
    if steps and said is not None:
        frozen = min(total, max(frozen, earliest(optimizer.betas[1])) if said == "auto" else said)
    if optimizer.name == "zeroone-adam":
        full, compressed = _zero_one(optimizer, frozen, total)
        return Rounds(full / total, compressed / total)
    return Rounds(frozen / total, 1.0 - frozen / total)


def _zero_one(optimizer: Optimizer, frozen: int, total: int) -> tuple[int, int]:
    """Steps of 0/1 Adam in full precision, and at one bit a value (Lu et al., arXiv 2202.06009, section 6).

    Until the freeze one step in 1, 2, 4, … updates the variance in full precision, doubled after every
    ``var_update_scaler`` of them, and the others send bits. After it one step in 1, 2, 4, … sends bits, doubled after
    every ``local_step_scaler`` steps, up to ``local_step_clipper``.
    """
    said = optimizer.onebit
    full, step, interval = 0, 0, 1
    while step < frozen:
        full += 1
        step += interval
        interval *= 2 if full % said.var_update_scaler == 0 else 1
    compressed, step, interval = frozen - full, frozen, 1
    while step < total:
        length = min(said.local_step_scaler, total - step)
        compressed += length // interval
        step += length
        interval = min(2 * interval, said.local_step_clipper)
    return full, compressed
