"""1-bit Adam: Adam whose variance is frozen after a while, and whose momentum is then exchanged at one bit a value.

Source: Tang et al., "1-bit Adam: Communication Efficient Large-Scale Training with Adam's Convergence Speed",
arXiv 2102.02888, algorithm 1.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from bertjob.train.optim.groups import Groups
from bertjob.train.optim.onebit.freeze import FreezeStep
from bertjob.train.optim.onebit.optimizer import CompressedOptimizer, Params, common_settings
from bertjob.train.optim.onebit.routes import Transport

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job


class OneBitAdam(CompressedOptimizer):
    """1-bit Adam with decoupled weight decay.

    A full step, of which the first `freeze_step` are, is AdamW's. In a compressed one, with v the variance as it was
    frozen after step f, rank i's gradient g_i and the 1-bit mean over the ranks C::

        m_i = b1 m + (1 - b1) g_i        m = C(m_1 ... m_n)
        x = x - lr (m / (1 - b1^t) / (sqrt(v / (1 - b2^f)) + eps) + weight_decay x)

    Values whose variance is 0 never had a gradient; they are not exchanged, and change by weight decay only.
    """

    plain = "Adam"

    def __init__(
        self,
        params: Params,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        freeze_step: FreezeStep,
        bias_correction: bool = True,
        bounded: bool = True,
        transport: Transport | None = None,
        hierarchical: bool = False,
        check_every: int | None = None,
    ) -> None:
        """1-bit Adam over `params`, tensors or groups of them with settings of their own.

        Args:
            params: what to train.
            lr: learning rate.
            betas: decay of the first and second moment; the same for all groups.
            eps: added to the root of the second moment.
            weight_decay: decoupled.
            freeze_step: full steps before the variance is frozen; ``auto``: until it has settled.
            bias_correction: whether moments are corrected for having begun at 0, as in Adam. DeepSpeed's are not.
            bounded: whether no value moves further in a compressed step than Adam could ever move it.
            transport: what carries the exchange; by default torch's process group of all ranks, if there is one.
            hierarchical: ranks of a node add up in full precision, and only nodes send each other one bit a value.
            check_every: steps between checks that all ranks have the same weights.

        Raises:
            ValueError: a setting is out of its range.
        """
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params,
            defaults,
            freeze_step=freeze_step,
            bias_correction=bias_correction,
            bounded=bounded,
            transport=transport,
            hierarchical=hierarchical,
            check_every=check_every,
        )

    def _take_full_step(self) -> None:
        self._descend(self._take_in_mean())

    def _take_compressed_step(self) -> None:
        self._average(self._take_in_own, self._descend)

    def _descend(self, numbers: Iterable[int]) -> None:
        """Move these tensors by their moments."""
        for group, mine in self._by_group(numbers):
            tensors = self._flat.some(mine)
            if group["weight_decay"]:
                torch._foreach_mul_(tensors, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(tensors, self._directions(group, mine), alpha=-group["lr"])


def onebit_adam(groups: Groups, settings: "job.Optimizer") -> OneBitAdam:
    """1-bit Adam by the settings of a job."""
    return OneBitAdam(groups, **common_settings(settings))
