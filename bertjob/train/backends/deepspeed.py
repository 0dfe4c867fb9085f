"""The DeepSpeed back end: its engine, with ZeRO and offload by the job's ``deepspeed:`` section.

What the engine does is kept to what the torch back end does, so that both give the same loss curve: our optimizers,
our learning rates, clipping by the same norm, and bf16 by autocast over float32 weights. A job that enables DeepSpeed's
own ``bf16``, ``fp16`` or ``torch_autocast`` gets that instead; precision fp16 is DeepSpeed's fp16.

A 1-bit optimizer wants each rank's own gradients, of which the engine's ZeRO and fp16 know nothing: it is the client
optimizer of a plain engine, whose all-reduce is off in compressed steps, and clipping and fp16 are done here.
"""

import copy
import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bertjob.config import bounded
from bertjob.config.checks.deepspeed_config import check_deepspeed, cuts_tensors, enabled_precision
from bertjob.config.job import Job
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.errors import CheckpointError, SpecError
from bertjob.rundir.world import World
from bertjob.text import first_line
from bertjob.train.backends import StepOutcome
from bertjob.train.backends.rank_state import cannot_write, load_own, save_own
from bertjob.train.deepspeed_ops import deepspeed_package
from bertjob.train.device import InPrecision, loss_scaler, resolve
from bertjob.train.optim import clip, rank_hooks, set_learning_rate
from bertjob.train.optim.factory import gauges, make_optimizer

FOLDER = "deepspeed"
"""Folder of the engine's own checkpoint, below the one that is given."""
_TAG = "state"
_WRITTEN_BY = "written_by.json"
_SCALER = "scaler"


def deepspeed_config(job: Job, accumulation: int, world_size: int, device: torch.device) -> dict[str, Any]:
    """DeepSpeed's config: the job's section, and what the job says elsewhere.

    Raises:
        SpecError: the section does not make sense (see config.checks.deepspeed_config), or fp16 on a CPU.
    """
    onebit = OPTIMIZERS[job.optimizer.name].one_bit is not None
    check_deepspeed(job.deepspeed, job.precision, one_bit=onebit)
    config = copy.deepcopy(job.deepspeed)
    if enabled_precision(config) is None and resolve(job.precision, device) == "fp16" and not onebit:
        config["fp16"] = {**config.get("fp16", {}), "enabled": True}
    if enabled_precision(config) == "fp16" and device.type == "cpu":
        raise SpecError("deepspeed.fp16 needs a GPU; on a CPU leave it out and say precision bf16 or fp32")
    if enabled_precision(config) in ("fp16", "bf16"):
        config["zero_optimization"] = {"stage": 1, **config.get("zero_optimization", {})}
    check_deepspeed(config, one_bit=onebit)  # with the precision that this device resolved
    if wrong := cuts_tensors(config, job.optimizer.name):
        raise SpecError(wrong)
    return {
        "zero_force_ds_cpu_optimizer": False,  # its CPU Adam would be compiled on every node; torch's does the same
        **config,
        "train_micro_batch_size_per_gpu": job.train.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": job.train.micro_batch * accumulation * world_size,
        # Left out, it would be 1.0. The engine would clip by the norm of this rank's gradients.
        "gradient_clipping": 0.0 if onebit else job.optimizer.max_grad_norm or 0.0,
    }


class DeepSpeedBackend:
    """Steps by DeepSpeed's engine (see backends.Backend).

    Attributes:
        model: the engine.
    """

    def __init__(self, model: nn.Module, job: Job, world: World, device: torch.device, accumulation: int) -> None:
        config = deepspeed_config(job, accumulation, world.size, device)
        deepspeed = _deepspeed(world, device)
        self._own = optimizer = make_optimizer(model, job.optimizer, mpi=job.mpi)
        precision = resolve(job.precision, device)
        own = InPrecision(model, precision, device) if enabled_precision(config) is None else model
        self.model: Any = deepspeed.initialize(
            args=SimpleNamespace(device_rank=device.index or 0),
            model=own,
            optimizer=optimizer,
            config=config,
            dist_init_required=False,
        )[0]
        self._files = self.model.checkpoint_engine = _Files(self.model.checkpoint_engine)
        self._plain = self.model.optimizer is optimizer
        self._full_weight = deepspeed.utils.safe_get_full_fp32_param
        self._bare, self._device, self._world = model, device, world
        self._stage = int(config.get("zero_optimization", {}).get("stage", 0))
        rank_hooks.meet(optimizer)
        row = OPTIMIZERS[job.optimizer.name]
        self._onebit = row.one_bit is not None
        self._moments = row.moments
        self._max_norm = job.optimizer.max_grad_norm if self._onebit else None  # the engine clips for the others
        self._scaler = loss_scaler(
            precision if self._onebit else "fp32", device, together=rank_hooks.exchanges(optimizer)
        )

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add one micro batch's gradients; the engine divides by the accumulation."""
        self.model.set_gradient_accumulation_boundary(last)
        self.model.enable_backward_allreduce = not rank_hooks.wants_local_gradients(self._own)
        self.model.backward(self._scaler.scale(loss))

    def step(self, lr: float) -> StepOutcome:
        """Clip, update, clear."""
        set_learning_rate(self.model.optimizer, lr)
        if self._onebit:
            return self._client_step()
        # Without ZeRO the engine clips but does not tell the norm.
        norm = clip(self._bare.parameters(), None) if self._plain else None
        self.model.step()
        norm = self.model.get_global_grad_norm() if norm is None else norm
        skipped = not self.model.was_step_applied()
        scale = float(self.model.optimizer.cur_scale) if self.model.fp16_enabled() else None
        return StepOutcome(None if norm is None or skipped else float(norm), skipped, scale)

    def gauges(self) -> Mapping[str, float]:
        """What the optimizer tells of its newest step."""
        return gauges(self._own)

    def save(self, folder: Path) -> None:
        """Write the engine's checkpoint: each rank its part of the optimizer's state under ZeRO.

        Raises:
            CheckpointError: there is too little room (on all ranks), or this rank's part cannot be written.
        """
        self._check_room(folder)
        own = rank_hooks.own_state(self._own)
        with rank_hooks.common_weights(self._own):
            self.model.save_checkpoint(
                str(folder / FOLDER), tag=_TAG, save_latest=False, client_state={_SCALER: self._scaler.state_dict()}
            )
        self._files.raise_failure()
        save_own(folder, self._world.rank, own)
        if self._world.rank == 0:
            written_by = {"world_size": self._world.size, "stage": self._stage}
            try:
                (folder / FOLDER / _WRITTEN_BY).write_text(json.dumps(written_by), encoding="utf-8")
            except OSError as error:
                raise cannot_write(folder / FOLDER / _WRITTEN_BY, error) from error

    def load(self, folder: Path) -> None:
        """Read the engine's checkpoint back.

        Raises:
            CheckpointError: it cannot be read, is another stage's, or another world size's under ZeRO.
        """
        own = folder / FOLDER
        self._check_fit(own)
        try:
            found, client = self.model.load_checkpoint(str(own), tag=_TAG)
            rank_hooks.load_own_state(self._own, load_own(folder, self._world.rank))
            if self._scaler.is_enabled() and client[_SCALER]:  # what has begun in bf16 or fp32 has none
                self._scaler.load_state_dict(client[_SCALER])
        except Exception as error:  # DeepSpeed's readers raise whatever broke
            raise CheckpointError(f"{own} cannot be read: {first_line(error)}") from error
        if found is None:
            raise CheckpointError(f"{own}: DeepSpeed finds no checkpoint there")

    def weights(self) -> dict[str, Tensor] | None:
        """A copy of the weights, on rank 0; gathered where they are partitioned, from the float32 masters if any."""
        gathered = {}
        with rank_hooks.common_weights(self._own):
            for name, parameter in self._bare.named_parameters():
                full = self._full_weight(parameter)  # all ranks; None where weights and optimizer are whole
                if self._world.rank == 0:
                    gathered[name] = (parameter if full is None else full).detach().to("cpu", torch.float32, copy=True)
        if self._world.rank != 0:
            return None
        buffers = {name: tensor for name, tensor in self._bare.state_dict().items() if name not in gathered}
        return gathered | {name: tensor.to("cpu", copy=True) for name, tensor in buffers.items()}

    def common_weights(self) -> AbstractContextManager[None]:
        """Within, all ranks have the same weights, those that `weights` copies."""
        return rank_hooks.common_weights(self._own)

    def _client_step(self) -> StepOutcome:
        """A step of a 1-bit optimizer; where a gradient overflowed in fp16, on any rank, nothing is changed."""
        self._scaler.unscale_(self._own)
        norm = clip(self._bare.parameters(), self._max_norm, partial(rank_hooks.norm_over_ranks, self._own)).item()
        if not self._scaler.is_enabled():
            self.model.step()
            return StepOutcome(norm, skipped=False, loss_scale=None)
        skipped = not math.isfinite(norm)
        if skipped:
            self.model.zero_grad()
        else:
            self.model.step()
        self._scaler.update()
        return StepOutcome(None if skipped else norm, skipped, self._scaler.get_scale())

    def _check_room(self, folder: Path) -> None:
        """Refuse a disk without room before any rank writes: the engine's ranks wait for each other."""
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in self._bare.parameters())  # ZeRO 3 empties them
        free = torch.tensor(shutil.disk_usage(folder).free, device=self._device)
        distributed.all_reduce(free, distributed.ReduceOp.MIN)
        # Over all ranks at most weights, master weights and moments, float32.
        needed = (4 + 4 + 4 * self._moments) * parameters
        if free.item() < needed:
            raise CheckpointError(f"{folder}: {free.item() / 1e6:.0f} MB free, it may take {needed / 1e6:.0f} MB")

    def _check_fit(self, own: Path) -> None:
        """Refuse a checkpoint of another ZeRO stage, or of another world size where ranks hold parts."""
        try:
            written_by = bounded.read_json(own / _WRITTEN_BY, bounded.SMALL)
            size, stage = written_by["world_size"], written_by["stage"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{own}: no checkpoint of the DeepSpeed back end ({first_line(error)})") from error
        if stage != self._stage:
            raise CheckpointError(f"{own} was written with ZeRO stage {stage}, this job has stage {self._stage}")
        if stage and size != self._world.size:
            raise CheckpointError(
                f"{own} was written by {size} ranks, here are {self._world.size}: under ZeRO each rank's part of the "
                f"optimizer stays its own, so go on with {size} ranks"
            )


class _Files:
    """The engine's writer and reader of checkpoint files, with two differences.

    A failure to write is kept and not raised: raised on one rank, it would leave the others waiting in the engine's
    next barrier. And files are read as data: DeepSpeed 0.19.8 unpickles them, which runs whatever code they hold
    (runtime/checkpoint_engine/torch_checkpoint_engine.py: ``weights_only=False``).
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._failure: CheckpointError | None = None

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        """Write one file of this rank's."""
        try:
            self._engine.save(state_dict, path)
        except (OSError, RuntimeError) as error:
            Path(path).unlink(missing_ok=True)
            self._failure = self._failure or cannot_write(Path(path), error)

    def load(self, path: str, map_location: Any = None) -> Any:
        """Read one file.

        Raises:
            pickle.UnpicklingError: it holds an object that is neither data nor one of DeepSpeed's few own classes.
        """
        with torch.serialization.safe_globals(_own_classes()):
            return torch.load(path, map_location=map_location, weights_only=True)

    def raise_failure(self) -> None:
        """Raise what went wrong since the last call, if anything."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _own_classes() -> list[Any]:
    """Classes whose instances DeepSpeed keeps in its checkpoints; they hold numbers, and making one runs nothing."""
    from deepspeed.runtime.fp16 import loss_scaler as scalers
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [scalers.LossScaler, scalers.DynamicLossScaler, ZeroStageEnum, fragment_address]


def _deepspeed(world: World, device: torch.device) -> Any:
    """The package, imported for this device, quiet, with nothing to compile and a process group to use."""
    os.environ.update(RANK=str(world.rank), WORLD_SIZE=str(world.size), LOCAL_RANK=str(world.local_rank))
    deepspeed = deepspeed_package("backend deepspeed", device)
    # Its collectives go by names that torch deprecates, which torch says once more in every step.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    if not distributed.is_initialized():
        store = distributed.HashStore()
        distributed.init_process_group(store=store, rank=0, world_size=1)
    return deepspeed
