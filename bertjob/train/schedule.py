"""The learning rate over the steps, as a factor of its peak: pure functions of the step's number.

Steps count from 0 to total - 1. In a warm-up of W steps, step s < W gets ((s + 1) / W)**warmup_power: the first step
already learns, the last step of the warm-up gets 1. Step W gets 1 again, and what follows depends on how many steps lie
behind the warm-up. A schedule that ends at 0 would reach it at step `total`, which is not taken: the last step still
learns.

Sources: linear warm-up and decay of BERT (Devlin et al., arXiv 1810.04805, A.2); warmup_linear_decay_exp, the squared
warm-up and the polynomial of DeepSpeed's BERT pre-training (tutorial "BERT Pre-training", lr_schedule LE, EE, EP), all
with the first step moved off 0 and the polynomial counted from the end of the warm-up, where it is continuous.
"""

import math
from collections.abc import Callable, Mapping

from bertjob.config.job import Schedule

Decay = Callable[[Schedule, int, float], float]
"""The factor after the warm-up: of the schedule, the steps behind it, and their share of all that come after it."""


def linear(schedule: Schedule, steps: int, share: float) -> float:
    """A straight line to 0."""
    return 1.0 - share


def cosine(schedule: Schedule, steps: int, share: float) -> float:
    """Half a cosine to 0 (Loshchilov and Hutter, arXiv 1608.03983, no restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def constant(schedule: Schedule, steps: int, share: float) -> float:
    """1."""
    return 1.0


def exponential(schedule: Schedule, steps: int, share: float) -> float:
    """`decay_rate` to the power of steps / `decay_steps`."""
    return float(schedule.decay_rate ** (steps / schedule.decay_steps))


def polynomial(schedule: Schedule, steps: int, share: float) -> float:
    """What is left, to the power of `power`."""
    return float((1.0 - share) ** schedule.power)


DECAYS: Mapping[str, Decay] = {
    "linear": linear,
    "cosine": cosine,
    "constant": constant,
    "exponential": exponential,
    "polynomial": polynomial,
}


def learning_rate(schedule: Schedule, peak: float, step: int, total: int) -> float:
    """The learning rate of step `step` (from 0) of `total`."""
    return schedule.offset + peak * factor(schedule, step, total)


def factor(schedule: Schedule, step: int, total: int) -> float:
    """The share of the peak that step `step` (from 0) of `total` gets, 0 … 1."""
    span = schedule.total_steps or total
    warmup = warmup_steps(schedule.warmup_proportion, span)
    if step < warmup:
        return float(((step + 1) / warmup) ** schedule.warmup_power)
    behind = step - warmup
    return DECAYS[schedule.name](schedule, behind, min(1.0, behind / max(1, span - warmup)))


def warmup_steps(proportion: float, total: int) -> int:
    """Steps of the warm-up: `proportion` of all, rounded up."""
    return math.ceil(round(proportion * total, 9))  # 0.1 * 30 is 3.0000000000000004
