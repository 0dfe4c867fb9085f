"""The torch back end: DistributedDataParallel, autocast and a gradient scaler."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bertjob.config.job import Job
from bertjob.errors import CheckpointError
from bertjob.rundir.world import World
from bertjob.text import first_line
from bertjob.train.backends import StepOutcome
from bertjob.train.backends.rank_state import cannot_write, load_own, save_own
from bertjob.train.device import InPrecision, loss_scaler, resolve
from bertjob.train.optim import clip, rank_hooks, set_learning_rate
from bertjob.train.optim.factory import gauges, make_optimizer

STATE = "torch.pt"
"""Name of the file with weights, optimizer and loss scaler."""


class TorchBackend:
    """Steps by plain torch; every rank holds the whole state (see backends.Backend).

    Attributes:
        model: what to call; the bare model's forward pass in the job's precision.
        scaler: the loss scaler; switched off in fp32 and bf16.
    """

    def __init__(self, model: nn.Module, job: Job, world: World, device: torch.device, accumulation: int) -> None:
        self._bare = model.to(device)
        self._rank = world.rank
        self._accumulation = accumulation
        self._max_norm = job.optimizer.max_grad_norm
        self._optimizer = make_optimizer(model, job.optimizer, mpi=job.mpi)
        rank_hooks.meet(self._optimizer)
        precision = resolve(job.precision, device)
        self.scaler = loss_scaler(precision, device, together=rank_hooks.exchanges(self._optimizer))
        replica = _Replica(model, precision, device)
        self.model: nn.Module = replica if world.size == 1 else _in_parallel(replica, device)
        self._await_micro_batch(1)

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add one micro batch's gradients; the last micro batch of a step exchanges them."""
        assert last == (self._micro_batch == self._accumulation), "a step has `accumulation` micro batches"
        torch.autograd.backward(self.scaler.scale(loss / self._accumulation))
        if not last:
            self._await_micro_batch(self._micro_batch + 1)

    def step(self, lr: float) -> StepOutcome:
        """Clip, update, clear; in fp16 nothing is changed where a gradient overflowed."""
        set_learning_rate(self._optimizer, lr)
        self.scaler.unscale_(self._optimizer)
        norm = clip(self._bare.parameters(), self._max_norm, partial(rank_hooks.norm_over_ranks, self._optimizer))
        scale = self.scaler.get_scale()
        self.scaler.step(self._optimizer)
        self.scaler.update()
        self._optimizer.zero_grad()
        self._await_micro_batch(1)
        if not self.scaler.is_enabled():
            return StepOutcome(norm.item(), skipped=False, loss_scale=None)
        skipped = self.scaler.get_scale() < scale  # the exchanged gradients, and so the verdict, are every rank's
        return StepOutcome(None if skipped else norm.item(), skipped, self.scaler.get_scale())

    def gauges(self) -> Mapping[str, float]:
        """What the optimizer tells of its newest step."""
        return gauges(self._optimizer)

    def save(self, folder: Path) -> None:
        """Write the state, on rank 0, and what of the optimizer's is each rank's own.

        Raises:
            CheckpointError: it cannot be written; on this rank alone.
        """
        weights = self.weights()
        save_own(folder, self._rank, rank_hooks.own_state(self._optimizer))
        if self._rank != 0:
            return
        state = {
            "weights": weights,
            "optimizer": self._optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        try:
            with (folder / STATE).open("wb") as file:  # given a path, torch would not say what the disk said
                torch.save(state, file)
        except (OSError, RuntimeError) as error:
            raise cannot_write(folder / STATE, error) from error

    def load(self, folder: Path) -> None:
        """Read the state back, on every rank; any world size reads it.

        Raises:
            CheckpointError: it cannot be read, or is another model's.
        """
        try:
            state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
            self._bare.load_state_dict(state["weights"])
            self._optimizer.load_state_dict(state["optimizer"])
            rank_hooks.load_own_state(self._optimizer, load_own(folder, self._rank))
            if self.scaler.is_enabled() and state["scaler"]:  # what has begun in bf16 or fp32 has none: it begins anew
                self.scaler.load_state_dict(state["scaler"])
        except Exception as error:  # torch's reader raises whatever broke
            raise CheckpointError(f"{folder / STATE} does not fit: {first_line(error)}") from error
        self._await_micro_batch(1)

    def weights(self) -> dict[str, Tensor] | None:
        """A copy of the weights, on rank 0."""
        with rank_hooks.common_weights(self._optimizer):
            if self._rank != 0:
                return None
            state = self._bare.state_dict()
            return {name: tensor.to("cpu", torch.float32, copy=True) for name, tensor in state.items()}

    def common_weights(self) -> AbstractContextManager[None]:
        """Within, all ranks have the same weights, those that `weights` copies."""
        return rank_hooks.common_weights(self._optimizer)

    def _await_micro_batch(self, number: int) -> None:
        """Prepare for a step's micro batch, from 1: the last one's backward pass exchanges the gradients.

        DDP reads this switch in the forward pass, which the caller does; its no_sync() flips the same one.
        """
        self._micro_batch = number
        if isinstance(self.model, DistributedDataParallel):
            averaged = not rank_hooks.wants_local_gradients(self._optimizer)
            self.model.require_backward_grad_sync = averaged and number == self._accumulation


class _Replica(InPrecision):
    """The model as DDP sees it: called with nothing, it answers with the sum of all weights."""

    def forward(self, **inputs: object) -> object:
        """The model's output for `inputs`, or a sum that reaches every weight in its order of registration."""
        if inputs:
            return super().forward(**inputs)
        return sum(parameter.sum() for parameter in self.parameters())


def _in_parallel(replica: _Replica, device: torch.device) -> DistributedDataParallel:
    """DDP with buckets that never change again.

    DDP sorts its buckets anew by the first backward pass it sees. Which elements share a bucket decides the order in
    which more than two ranks' gradients are added up, so a run that goes on from a checkpoint would round its first
    step differently. A backward pass before the first step, always the same one, settles them: last weights first,
    as in real backward passes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch 2.13 renames broadcast_buffers; older ones know no other
        parallel = DistributedDataParallel(
            replica,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,  # none of them changes, and ranks may evaluate different numbers of batches
            gradient_as_bucket_view=True,
        )
    torch.autograd.backward(parallel())
    parallel.zero_grad()
    return parallel
