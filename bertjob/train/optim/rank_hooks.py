"""What a back end asks of its optimizer because some exchange what ranks have by themselves, and others do not."""

import contextlib
from typing import Any

import torch
from torch import Tensor

from bertjob.train.optim.onebit import CompressedOptimizer


def exchanges(optimizer: torch.optim.Optimizer) -> bool:
    """Whether it will exchange something itself: ranks may then differ in what they have."""
    return isinstance(optimizer, CompressedOptimizer) and optimizer.ranks > 1


def wants_local_gradients(optimizer: torch.optim.Optimizer) -> bool:
    """Whether gradients must not be averaged over the ranks for the next step."""
    return isinstance(optimizer, CompressedOptimizer) and optimizer.local_gradients


def norm_over_ranks(optimizer: torch.optim.Optimizer, norm: Tensor) -> Tensor:
    """The norm to clip by, the same on all ranks, from that of this rank's gradients; called by all."""
    return optimizer.norm_over_ranks(norm) if isinstance(optimizer, CompressedOptimizer) else norm


def meet(optimizer: torch.optim.Optimizer) -> None:
    """Compare settings before the first step; called by all ranks.

    Raises:
        WorldError: they differ.
    """
    if isinstance(optimizer, CompressedOptimizer):
        optimizer.meet()


def common_weights(optimizer: torch.optim.Optimizer) -> contextlib.AbstractContextManager[None]:
    """Within, all ranks have the same weights; called by all."""
    return optimizer.common_weights() if isinstance(optimizer, CompressedOptimizer) else contextlib.nullcontext()


def own_state(optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """What of its state is this rank's alone; None where it has no such thing."""
    return optimizer.own_state_dict() if isinstance(optimizer, CompressedOptimizer) else None


def load_own_state(optimizer: torch.optim.Optimizer, state: dict[str, Any] | None) -> None:
    """Take it back, after the rest of the state; called by all ranks."""
    if isinstance(optimizer, CompressedOptimizer):
        optimizer.load_own_state_dict(state)
