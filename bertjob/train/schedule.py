"""The learning rate over the steps, as a factor of its peak: pure functions of the step's number.

Steps count from 0 to total - 1. In a warm-up of W steps, step s < W gets (s + 1) / W: the first step already learns
(at 1 / W, not at 0), the last step of the warm-up gets 1. Step W gets 1 again, and from there the rate falls so that
it would reach 0 at step `total`, which is not taken: the last step still learns.
Source: linear warm-up and decay of BERT (Devlin et al., arXiv 1810.04805, A.2), with the first step moved off 0.
"""

import math
from collections.abc import Callable, Mapping

from bertjob.spec.job import Schedule


def linear(step: int, total: int, warmup: int) -> float:
    """Warm-up, then a straight line; the last step gets 1 / (total - warmup)."""
    return _rise(step, warmup) if step < warmup else 1.0 - _progress(step, total, warmup)


def cosine(step: int, total: int, warmup: int) -> float:
    """Warm-up, then half a cosine (Loshchilov and Hutter, arXiv 1608.03983, no restarts)."""
    return _rise(step, warmup) if step < warmup else 0.5 * (1.0 + math.cos(math.pi * _progress(step, total, warmup)))


def constant(step: int, total: int, warmup: int) -> float:
    """Warm-up, then 1."""
    return _rise(step, warmup) if step < warmup else 1.0


SCHEDULES: Mapping[str, Callable[[int, int, int], float]] = {"linear": linear, "cosine": cosine, "constant": constant}


def learning_rate(schedule: Schedule, peak: float, step: int, total: int) -> float:
    """The learning rate of step `step` (from 0) of `total`."""
    return peak * SCHEDULES[schedule.name](step, total, warmup_steps(schedule.warmup_proportion, total))


def warmup_steps(proportion: float, total: int) -> int:
    """Steps of the warm-up: `proportion` of all, rounded up."""
    return math.ceil(round(proportion * total, 9))  # 0.1 * 30 is 3.0000000000000004


def _rise(step: int, warmup: int) -> float:
    return (step + 1) / warmup


def _progress(step: int, total: int, warmup: int) -> float:
    """Share of the steps after the warm-up that lie behind, 0 … 1."""
    return min(1.0, (step - warmup) / max(1, total - warmup))
