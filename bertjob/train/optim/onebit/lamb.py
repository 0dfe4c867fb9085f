"""1-bit LAMB: LAMB whose variance is frozen after a while, and whose momentum is then exchanged at one bit a value.

Source: Li et al., "1-bit LAMB: Communication Efficient Large-Scale Large-Batch Training with LAMB's Convergence Speed",
arXiv 2104.06069, algorithm 1.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bertjob.train.optim.groups import Groups
from bertjob.train.optim.lamb import trust_gauges, trust_ratios
from bertjob.train.optim.onebit import moments
from bertjob.train.optim.onebit.buffers import FIRST, SECOND
from bertjob.train.optim.onebit.freeze import FreezeStep
from bertjob.train.optim.onebit.optimizer import CompressedOptimizer, Params, common_settings
from bertjob.train.optim.onebit.routes import Transport

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job

_FRESH = "exp_avg_sq_fresh"
"""The variance that goes on after the freeze, of gradients as the exchanged momentum tells them."""


class OneBitLamb(CompressedOptimizer):
    """1-bit LAMB.

    A full step, of which the first `freeze_step` are, is Lamb's. Meanwhile each tensor's trust ratio has a moving mean
    c, by `coeff_beta`. In a compressed step m is exchanged as in OneBitAdam, and with v the frozen variance::

        g = (m - b1 m') / (1 - b1)       w = b2 w + (1 - b2) g^2       (m' the momentum before; w begins as v)
        u = m / (sqrt(v) + eps) + weight_decay x                       (moments are bias-corrected)
        f = max((sqrt(v) + eps) / (sqrt(w) + eps))
        x = x - lr c f u

    The factor f of a tensor follows the change of its variance since the freeze. Where weights decay, it counts by the
    share of u that is not decay; it stays between `factor_min` and `factor_max`, and changes in one step by at most
    `factor_threshold` of it. The paper evens out the momenta of all tensors before it compresses them under one scale;
    here each tensor has a scale of its own, which makes that needless.
    """

    plain = "LAMB"

    def __init__(
        self,
        params: Params,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        trust: tuple[float, float] = (0.08, 0.5),
        freeze_step: FreezeStep,
        coeff_beta: float = 0.9,
        factor_min: float = 0.5,
        factor_max: float = 4.0,
        factor_threshold: float = 0.1,
        bias_correction: bool = True,
        bounded: bool = True,
        transport: Transport | None = None,
        hierarchical: bool = False,
        check_every: int | None = None,
    ) -> None:
        """1-bit LAMB over `params`, tensors or groups of them with settings of their own.

        Args:
            params: what to train.
            lr: learning rate.
            betas: decay of the first and second moment; the same for all groups.
            eps: added to the root of the second moment.
            weight_decay: decoupled, part of the update whose norm is taken.
            trust: bounds of the trust ratio.
            freeze_step: full steps before the variance is frozen; ``auto``: until it has settled.
            coeff_beta: decay of the mean of the trust ratios.
            factor_min: least factor on it.
            factor_max: greatest factor on it.
            factor_threshold: greatest change of the factor in a step, as a share of it.
            bias_correction: whether moments are corrected for having begun at 0.
            bounded: whether no value moves further in a compressed step than Adam could ever move it.
            transport: what carries the exchange; by default torch's process group of all ranks, if there is one.
            hierarchical: ranks of a node add up in full precision, and only nodes send each other one bit a value.
            check_every: steps between checks that all ranks have the same weights.

        Raises:
            ValueError: a setting is out of its range.
        """
        if not 0 <= trust[0] <= trust[1]:
            raise ValueError(f"trust {trust}: the bounds of the trust ratio are 0 <= low <= high")
        if not (0 < factor_min <= 1 <= factor_max and factor_threshold > 0 and 0 <= coeff_beta < 1):
            raise ValueError(
                f"factor_min {factor_min}, factor_max {factor_max}, factor_threshold {factor_threshold} or "
                f"coeff_beta {coeff_beta} is out of range"
            )
        super().__init__(
            params,
            {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "trust": trust},
            freeze_step=freeze_step,
            bias_correction=bias_correction,
            bounded=bounded,
            transport=transport,
            hierarchical=hierarchical,
            check_every=check_every,
        )
        self._settings |= {
            "coeff_beta": coeff_beta,
            "factor_min": factor_min,
            "factor_max": factor_max,
            "factor_threshold": factor_threshold,
        }
        self._coeff_beta = coeff_beta
        self._factor_bounds = (factor_min, factor_max)
        self._threshold = factor_threshold
        self._ratios = torch.empty(0)

    def trust_ratios(self) -> Tensor:
        """What each tensor's update was scaled by in the newest step: ``[tensors]``, in the order of the groups."""
        return self._ratios

    def gauges(self) -> dict[str, float]:
        """The spread of the trust ratios, and what any 1-bit optimizer reports."""
        return trust_gauges(self.trust_ratios()) | super().gauges()

    def _prepare(self) -> None:
        ones = self._buffers[FIRST].new_ones(len(self._flat.tensors))
        self._means, self._factors, self._ratios = torch.zeros_like(ones), ones, ones.clone()
        self._before = self._flat.views(self._flat.zeros())

    def _take_full_step(self) -> None:
        for group, mine in self._by_group(self._take_in_mean()):
            updates = self._updates_of(group, mine, self._directions(group, mine))
            ratios = trust_ratios(self._flat.some(mine), updates, group["trust"])
            means = self._means[mine]
            self._means[mine] = torch.where(means == 0, ratios, torch.lerp(ratios, means, self._coeff_beta))
            self._descend(group, mine, updates, ratios)

    def _take_compressed_step(self) -> None:
        if _FRESH not in self._buffers:
            self._add_buffer(_FRESH)
            self._buffers[_FRESH].copy_(self._buffers[SECOND])
        self._average(self._remember_and_take_in, self._descend_by_factors)

    def _remember_and_take_in(self, numbers: Sequence[int]) -> None:
        torch._foreach_copy_([self._before[number] for number in numbers], self._part(FIRST, numbers))
        self._take_in_own(numbers)

    def _descend_by_factors(self, numbers: Sequence[int]) -> None:
        for group, mine in self._by_group(numbers):
            self._refresh(group, mine)
            directions = self._directions(group, mine)
            updates = self._updates_of(group, mine, directions)
            self._factors[mine] = self._bounded(self._factors[mine], self._changes(group, mine, directions, updates))
            self._descend(group, mine, updates, self._means[mine] * self._factors[mine])

    def _refresh(self, group: Mapping[str, Any], numbers: Sequence[int]) -> None:
        """Let the fresh variance take in the gradients that the exchanged momenta came from."""
        beta1, beta2 = group["betas"]
        gradients = torch._foreach_sub(
            self._part(FIRST, numbers), torch._foreach_mul([self._before[number] for number in numbers], beta1)
        )
        torch._foreach_div_(gradients, 1 - beta1)
        fresh = self._part(_FRESH, numbers)
        torch._foreach_mul_(fresh, beta2)
        torch._foreach_addcmul_(fresh, gradients, gradients, 1 - beta2)

    def _changes(
        self, group: Mapping[str, Any], numbers: Sequence[int], directions: list[Tensor], updates: list[Tensor]
    ) -> Tensor:
        """By how much each tensor's variance has changed since it was frozen: ``[tensors]``."""
        frozen, fresh = self._part(SECOND, numbers), self._part(_FRESH, numbers)
        beta2 = group["betas"][1]
        corrections = (1 - beta2**self.updates, 1 - beta2**self.steps) if self._bias_correction else (1.0, 1.0)
        roots = moments.roots(frozen, corrections[0], group["eps"])
        torch._foreach_div_(roots, moments.roots(fresh, corrections[1], group["eps"]))
        # What never had a gradient says nothing.
        changes = torch.stack([(root * (v > 0)).max() for root, v in zip(roots, frozen, strict=True)])
        if not group["weight_decay"]:
            return changes
        lengths = torch.stack(torch._foreach_norm(updates))
        shares = (torch.stack(torch._foreach_norm(directions)) / lengths).nan_to_num(1.0).clamp(max=1.0)
        return changes * shares + (1 - shares)

    def _bounded(self, before: Tensor, changes: Tensor) -> Tensor:
        """The factors that follow those of the step before."""
        low, high = before * (1 - self._threshold), before * (1 + self._threshold)
        return changes.clamp(*self._factor_bounds).clamp(low, high)

    def _updates_of(self, group: Mapping[str, Any], numbers: Sequence[int], directions: list[Tensor]) -> list[Tensor]:
        """Directions and decay, new tensors."""
        return list(torch._foreach_add(directions, self._flat.some(numbers), alpha=group["weight_decay"]))

    def _descend(self, group: Mapping[str, Any], numbers: Sequence[int], updates: list[Tensor], ratios: Tensor) -> None:
        self._ratios[numbers] = ratios
        torch._foreach_mul_(updates, list(ratios.unbind()))
        torch._foreach_add_(self._flat.some(numbers), updates, alpha=-group["lr"])

    def _course(self) -> dict[str, Any]:
        return super()._course() | {"means": self._means, "factors": self._factors}

    def _load_course(self, state: Mapping[str, Any]) -> None:
        super()._load_course(state)
        self._means.copy_(state["means"])
        self._factors.copy_(state["factors"])


def onebit_lamb(groups: Groups, settings: "job.Optimizer") -> OneBitLamb:
    """1-bit LAMB by the settings of a job."""
    onebit = settings.onebit
    return OneBitLamb(
        groups,
        trust=settings.trust,
        coeff_beta=onebit.coeff_beta,
        factor_min=onebit.factor_min,
        factor_max=onebit.factor_max,
        factor_threshold=onebit.factor_threshold,
        **common_settings(settings),
    )
