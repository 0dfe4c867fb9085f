"""When the variance is frozen, and whether it had settled by then.

Source: Tang et al., arXiv 2102.02888, section 7: it has settled once its norm is that of 1 / (1 - beta2) steps before,
to within 4 %, and the learning rate has passed its warm-up. The norm is that of the bias-corrected variance, which does
not grow just because it began at 0.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from bertjob.config.checks.variance import PER_WINDOW, steps_between

SETTLED = 0.96
"""Least ratio of the smaller norm to the greater one."""
_LEAST = 0.1
"""Share of 1 / (1 - beta2) steps below which a variance is the mean of too few gradients to have settled."""
FreezeStep = int | Literal["auto"]


class Freeze:
    """Freezes the variance after a planned step, or as soon as it has settled.

    Attributes:
        after: the step after which it was frozen, or None.
        settled: whether the variance has settled as far as was seen when it was looked at last.
    """

    def __init__(self, step: FreezeStep, beta2: float) -> None:
        """Freeze after step `step`, or by the norms of a variance that decays by `beta2`."""
        self._planned = None if step == "auto" else step
        self._every = steps_between(beta2)
        self._least = _LEAST / (1 - beta2)
        self._apart = PER_WINDOW * self._every
        if self._planned is not None:
            self._apart = min(self._apart, self._planned // 2)
        self._norms: dict[int, float] = {}
        self._highest_lr = 0.0
        self.after: int | None = None
        self.settled = False

    def consider(self, step: int, lr: float, norm: Callable[[], float]) -> bool:
        """Whether step `step` was the last one before the freeze; called after each step until then.

        Args:
            step: from 1.
            lr: its learning rate.
            norm: the variance's, the same on all ranks; asked for only when it is looked at.
        """
        rising, self._highest_lr = lr > self._highest_lr > 0, max(lr, self._highest_lr)
        if self._looks(step):
            self.settled = self._has_norm_of_before(step, norm()) and not rising and step >= self._least
            if self._is_due(step):
                self.after = step
        return self.after is not None

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"after": self.after, "norms": self._norms, "highest_lr": self._highest_lr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.after, self._norms, self._highest_lr = state["after"], dict(state["norms"]), state["highest_lr"]

    def _looks(self, step: int) -> bool:
        if self._planned is not None:
            return step == self._planned - self._apart or step >= self._planned
        return step % self._every == 0

    def _is_due(self, step: int) -> bool:
        """One rank alone may have gone on beyond the planned step; it is due as soon as there are several."""
        return self.settled if self._planned is None else step >= self._planned

    def _has_norm_of_before(self, step: int, norm: float) -> bool:
        before = step - self._apart
        self._norms = {at: old for at, old in self._norms.items() if at >= before} | {step: norm}
        if self._planned is not None and step > self._planned:
            return True  # nobody looked then
        return before in self._norms and _ratio(self._norms[before], norm) >= SETTLED


def _ratio(one: float, other: float) -> float:
    """The smaller one's share of the greater; 0 where one of them is no number or both are 0."""
    greater = max(one, other)
    return min(one, other) / greater if math.isfinite(one + other) and greater > 0 else 0.0
