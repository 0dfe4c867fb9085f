"""0/1 Adam: 1-bit Adam from the first steps on, with ever rarer updates of the variance, and ever rarer exchanges.

Source: Lu et al., "Maximizing Communication Efficiency for Large-scale Training via 0/1 Adam", arXiv 2202.06009,
algorithm 1 and section 6 (the policies).
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bertjob.train.optim.groups import Groups
from bertjob.train.optim.onebit import consensus
from bertjob.train.optim.onebit.adam import OneBitAdam
from bertjob.train.optim.onebit.buffers import FIRST
from bertjob.train.optim.onebit.freeze import FreezeStep
from bertjob.train.optim.onebit.optimizer import Params, common_settings
from bertjob.train.optim.onebit.routes import Transport

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job

_ANCHOR = "anchor"
"""Weights after the last exchange, the same on all ranks."""
_SINCE_EXCHANGE: Mapping[str, float] = {"lr_sum": 0.0, "decay": 1.0}
"""Of each group, over its local steps: the sum of the learning rates, the product of the decays."""


def updates_variance(step: int, scaler: int) -> bool:
    """Whether step `step` (from 0) updates the variance before it is frozen.

    The first `scaler` updates are in each step, the next `scaler` in each second one, then in each fourth, and so on.
    """
    doublings = (step // scaler + 1).bit_length() - 1
    apart = 1 << doublings
    return (step - scaler * (apart - 1)) % apart == 0


def steps_between_exchanges(step: int, scaler: int, most: int) -> int:
    """How many steps ranks take by themselves until they exchange, at step `step` (from 0) after the freeze.

    One at first; each `scaler` steps they double, up to `most`.
    """
    return min(most, 1 << min(step // scaler, most.bit_length()))


class ZeroOneAdam(OneBitAdam):
    """0/1 Adam with decoupled weight decay.

    A full step, by averaged gradients, updates the variance. Full steps become rarer by `var_update_scaler` until the
    variance is frozen after step `freeze_step`; all others exchange the momentum as OneBitAdam does. After the freeze
    exchanges become rarer too, by `local_step_scaler` and `local_step_clipper`: between two of them a rank takes steps
    by itself, with gradients and a momentum of its own. With lr_h the learning rates and m_h the momenta of a rank's
    steps since the exchange that left all ranks at a, the next one goes on from::

        m = C(sum(lr_h m_h) / sum(lr_h))
        x = prod(1 - lr_h weight_decay) a - sum(lr_h) m / (sqrt(v) + eps)      (moments are bias-corrected)

    Values whose variance is 0 stay where they are in local steps too, but for weight decay. A rank that is the first to
    have a gradient for one of them would divide by eps alone.

    Two details differ from the paper. The variance is updated before it is used, as in Adam; the paper's begins at 0.
    And what is exchanged is a momentum, not a momentum times learning rates, so that errors keep their weight when the
    learning rate changes, also where it is 0.
    """

    def __init__(
        self,
        params: Params,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        freeze_step: FreezeStep,
        var_update_scaler: int = 16,
        local_step_scaler: int = 32678,
        local_step_clipper: int = 16,
        bias_correction: bool = True,
        bounded: bool = True,
        transport: Transport | None = None,
        hierarchical: bool = False,
        check_every: int | None = None,
    ) -> None:
        """0/1 Adam over `params`, tensors or groups of them with settings of their own.

        Args:
            params: what to train.
            lr: learning rate.
            betas: decay of the first and second moment; the same for all groups.
            eps: added to the root of the second moment.
            weight_decay: decoupled.
            freeze_step: steps before the variance is frozen; ``auto``: until it has settled.
            var_update_scaler: updates of the variance until the steps between two of them double.
            local_step_scaler: steps after the freeze until the steps between two exchanges double.
            local_step_clipper: steps between two exchanges at most.
            bias_correction: whether moments are corrected for having begun at 0.
            bounded: whether no value moves further in a compressed step than Adam could ever move it.
            transport: what carries the exchange; by default torch's process group of all ranks, if there is one.
            hierarchical: ranks of a node add up in full precision, and only nodes send each other one bit a value.
            check_every: steps between checks that all ranks have the same weights, as they have after an exchange.

        Raises:
            ValueError: a setting is out of its range.
        """
        if min(var_update_scaler, local_step_scaler, local_step_clipper) < 1:
            raise ValueError(
                f"var_update_scaler {var_update_scaler}, local_step_scaler {local_step_scaler} or "
                f"local_step_clipper {local_step_clipper} is below 1"
            )
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            freeze_step=freeze_step,
            bias_correction=bias_correction,
            bounded=bounded,
            transport=transport,
            hierarchical=hierarchical,
            check_every=check_every,
        )
        self._settings |= {
            "var_update_scaler": var_update_scaler,
            "local_step_scaler": local_step_scaler,
            "local_step_clipper": local_step_clipper,
        }
        self._var_update_scaler = var_update_scaler
        self._local_step_scaler = local_step_scaler
        self._local_step_clipper = local_step_clipper
        self._sums: Tensor | None = None
        self._forget_local_steps()

    @property
    def local_gradients(self) -> bool:
        """Whether the next step is compressed, and so wants each rank's own gradients instead of their mean."""
        if not self._compresses:
            return False
        return self.frozen_after is not None or not updates_variance(self.steps, self._var_update_scaler)

    @contextlib.contextmanager
    def common_weights(self) -> Iterator[None]:
        """Within, all ranks have the mean of their weights; called by all."""
        if not self._local_steps:
            yield
            return
        own = self._gathered_weights()
        self._set_weights(consensus.average(own, self._transport))
        try:
            yield
        finally:
            self._set_weights(own)

    def _take_full_step(self) -> None:
        super()._take_full_step()
        if self._pipeline:
            self._pipeline.keep(self._live())  # more may have had a gradient

    def _take_compressed_step(self) -> None:
        apart = self._steps_between_exchanges()
        if apart == 1 and not self._local_steps:
            super()._take_compressed_step()
            return
        self._take_local_step()
        if self._local_steps >= apart:
            self._average(self._prepare_sums, self._descend_from_anchor)
            self._forget_local_steps()
        else:
            self.bytes_sent = 0

    def _steps_between_exchanges(self) -> int:
        if self.frozen_after is None:
            return 1
        done = self.steps - 1 - self.frozen_after
        return steps_between_exchanges(done, self._local_step_scaler, self._local_step_clipper)

    def _take_local_step(self) -> None:
        """Move by own gradients, and remember what by."""
        if not self._local_steps:
            self._set_out()
        numbers = range(len(self._flat.tensors))
        self._take_in_own(numbers)
        self._buffers[FIRST].masked_fill_(~self._live(), 0.0)  # as an exchange does
        for group, mine in self._by_group(numbers):
            torch._foreach_add_(self._sums_of(mine), self._part(FIRST, mine), alpha=group["lr"])
        self._descend(numbers)
        self._local_steps += 1
        for group in self.param_groups:
            group["lr_sum"] += group["lr"]
            group["decay"] *= 1 - group["lr"] * group["weight_decay"]

    def _set_out(self) -> None:
        """Remember where all ranks are before they part."""
        self._add_buffer(_ANCHOR)
        self._buffers[_ANCHOR].copy_(self._gathered_weights())
        self._sums = self._flat.zeros()

    def _sums_of(self, numbers: Sequence[int]) -> list[Tensor]:
        assert self._sums is not None, "there are sums while there are local steps"
        views = self._flat.views(self._sums)
        return [views[number] for number in numbers]

    def _prepare_sums(self, numbers: Sequence[int]) -> None:
        """Put the mean momentum of the local steps in the place of the last one."""
        for group, mine in self._by_group(numbers):
            if group["lr_sum"] > 0:
                means = torch._foreach_div(self._sums_of(mine), group["lr_sum"])
                torch._foreach_copy_(self._part(FIRST, mine), means)

    def _descend_from_anchor(self, numbers: Sequence[int]) -> None:
        for group, mine in self._by_group(numbers):
            weights = torch._foreach_mul(self._part(_ANCHOR, mine), group["decay"])
            torch._foreach_add_(weights, self._directions(group, mine), alpha=-group["lr_sum"])
            torch._foreach_copy_(self._flat.some(mine), weights)

    def _agrees(self) -> bool:
        return not self._local_steps

    def _gathered_weights(self) -> Tensor:
        weights = self._flat.zeros()
        torch._foreach_copy_(self._flat.views(weights), self._flat.tensors)
        return weights

    def _set_weights(self, weights: Tensor) -> None:
        with torch.no_grad():
            torch._foreach_copy_(self._flat.tensors, self._flat.views(weights))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state; local steps that were under way are taken up by `load_own_state_dict` only."""
        super().load_state_dict(state_dict)
        self._forget_local_steps()

    def own_state_dict(self) -> dict[str, Any]:
        """What this rank alone has not said yet: amid local steps its weights and momenta, too."""
        own = super().own_state_dict()
        if not self._local_steps:
            return own
        return own | {
            "local_steps": self._local_steps,
            "weights": self._gathered_weights(),
            "momenta": self._buffers[FIRST],
            "sums": self._sums,
            "groups": [{name: group[name] for name in _SINCE_EXCHANGE} for group in self.param_groups],
        }

    def load_own_state_dict(self, state: Mapping[str, Any] | None) -> bool:
        """Take what `own_state_dict` gave; where it does not fit, ranks go on from the weights that were loaded."""
        fits = super().load_own_state_dict(state)
        if fits and state and "local_steps" in state:
            self._local_steps = state["local_steps"]
            self._set_weights(state["weights"].to(self._flat.device))
            self._buffers[FIRST].copy_(state["momenta"])
            self._sums = self._flat.zeros().copy_(state["sums"])
            for group, since in zip(self.param_groups, state["groups"], strict=True):
                group |= since
        return fits

    def _forget_local_steps(self) -> None:
        self._local_steps = 0
        for group in self.param_groups:
            group |= _SINCE_EXCHANGE


def zeroone_adam(groups: Groups, settings: "job.Optimizer") -> ZeroOneAdam:
    """0/1 Adam by the settings of a job."""
    onebit = settings.onebit
    return ZeroOneAdam(
        groups,
        var_update_scaler=onebit.var_update_scaler,
        local_step_scaler=onebit.local_step_scaler,
        local_step_clipper=onebit.local_step_clipper,
        **common_settings(settings),
    )
