"""The DeepSpeed back end: its engine, with ZeRO and offload by the job's ``deepspeed:`` section.

What the engine does is kept to what the torch back end does, so that both give the same loss curve: our AdamW, our
learning rates, clipping by the same norm, and bf16 by autocast over float32 weights. A job that enables DeepSpeed's
own ``bf16``, ``fp16`` or ``torch_autocast`` gets that instead; precision fp16 is DeepSpeed's fp16.
"""

import copy
import importlib
import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bertjob.errors import CheckpointError, PreflightError, SpecError
from bertjob.launch.world import World
from bertjob.spec.deepspeed import check_deepspeed, enabled_precision
from bertjob.spec.job import Job
from bertjob.train.backends import StepOutcome
from bertjob.train.backends.agree import raise_together
from bertjob.train.optim import adamw, clip, set_learning_rate
from bertjob.train.precision import InPrecision, resolve

FOLDER = "deepspeed"
"""Folder of the engine's own checkpoint, below the one that is given."""
_TAG = "state"
_WRITTEN_BY = "written_by.json"
_BYTES_A_PARAMETER = 16
"""Weights, master weights and two moments at most, over all ranks."""


def deepspeed_config(job: Job, accumulation: int, world_size: int, device: torch.device) -> dict[str, Any]:
    """DeepSpeed's config: the job's section, and what the job says elsewhere.

    Raises:
        SpecError: the section does not make sense (see spec.deepspeed), or fp16 on a CPU.
    """
    check_deepspeed(job.deepspeed, job.precision)
    config = copy.deepcopy(job.deepspeed)
    if enabled_precision(config) is None and resolve(job.precision, device) == "fp16":
        config["fp16"] = {**config.get("fp16", {}), "enabled": True}
    if enabled_precision(config) == "fp16" and device.type == "cpu":
        raise SpecError("deepspeed.fp16 needs a GPU; on a CPU leave it out and say precision bf16 or fp32")
    return {
        "zero_force_ds_cpu_optimizer": False,  # its CPU Adam would be compiled on every node; torch's does the same
        **config,
        "train_micro_batch_size_per_gpu": job.train.micro_batch,
        "gradient_accumulation_steps": accumulation,
        "train_batch_size": job.train.micro_batch * accumulation * world_size,
        "gradient_clipping": job.optimizer.max_grad_norm or 0.0,  # left out, it would be 1.0
    }


class DeepSpeedBackend:
    """Steps by DeepSpeed's engine (see backends.Backend).

    Attributes:
        model: the engine.
    """

    def __init__(self, model: nn.Module, job: Job, world: World, device: torch.device, accumulation: int) -> None:
        config = deepspeed_config(job, accumulation, world.size, device)
        deepspeed = _deepspeed(world, device)
        optimizer = adamw(model, job.optimizer)
        own = InPrecision(model, resolve(job.precision, device), device) if enabled_precision(config) is None else model
        self.model: Any = deepspeed.initialize(
            args=SimpleNamespace(device_rank=device.index or 0),
            model=own,
            optimizer=optimizer,
            config=config,
            dist_init_required=False,
        )[0]
        self._writer = self.model.checkpoint_engine = _Writer(self.model.checkpoint_engine)
        self._plain = self.model.optimizer is optimizer
        self._full_weight = deepspeed.utils.safe_get_full_fp32_param
        self._bare, self._device, self._world = model, device, world
        self._stage = int(config.get("zero_optimization", {}).get("stage", 0))

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add one micro batch's gradients; the engine divides by the accumulation."""
        self.model.set_gradient_accumulation_boundary(last)
        self.model.backward(loss)

    def step(self, lr: float) -> StepOutcome:
        """Clip, update, clear."""
        set_learning_rate(self.model.optimizer, lr)
        # Without ZeRO the engine clips but does not tell the norm.
        norm = clip(self._bare.parameters(), None) if self._plain else None
        self.model.step()
        norm = self.model.get_global_grad_norm() if norm is None else norm
        skipped = not self.model.was_step_applied()
        scale = float(self.model.optimizer.cur_scale) if self.model.fp16_enabled() else None
        return StepOutcome(None if norm is None or skipped else float(norm), skipped, scale)

    def save(self, folder: Path) -> None:
        """Write the engine's checkpoint: each rank its part of the optimizer's state under ZeRO.

        Raises:
            CheckpointError: it cannot be written, on whichever rank.
        """
        raise_together(self._too_full(folder), self._device)
        self.model.save_checkpoint(str(folder / FOLDER), tag=_TAG, save_latest=False)
        raise_together(self._writer.take_failure(), self._device)
        failure = None
        if self._world.rank == 0:
            written_by = {"world_size": self._world.size, "stage": self._stage}
            try:
                (folder / FOLDER / _WRITTEN_BY).write_text(json.dumps(written_by), encoding="utf-8")
            except OSError as error:
                failure = CheckpointError(f"{folder / FOLDER / _WRITTEN_BY} cannot be written: {error.strerror}")
        raise_together(failure, self._device)

    def load(self, folder: Path) -> None:
        """Read the engine's checkpoint back.

        Raises:
            CheckpointError: it cannot be read, is another stage's, or another world size's under ZeRO.
        """
        own = folder / FOLDER
        raise_together(self._misfit(own), self._device)
        failure = None
        try:
            found, _ = self.model.load_checkpoint(str(own), tag=_TAG)
            if found is None:
                failure = CheckpointError(f"{own}: DeepSpeed finds no checkpoint there")
        except Exception as error:  # DeepSpeed's readers raise whatever broke
            failure = CheckpointError(f"{own} cannot be read: {_first_line(error)}")
        raise_together(failure, self._device)

    def weights(self) -> dict[str, Tensor] | None:
        """A copy of the weights, on rank 0; gathered where they are partitioned, from the float32 masters if any."""
        gathered = {}
        for name, parameter in self._bare.named_parameters():
            full = self._full_weight(parameter)  # all ranks; None where weights and optimizer are whole
            if self._world.rank == 0:
                gathered[name] = (parameter if full is None else full).detach().to("cpu", torch.float32, copy=True)
        if self._world.rank != 0:
            return None
        buffers = {name: tensor for name, tensor in self._bare.state_dict().items() if name not in gathered}
        return gathered | {name: tensor.to("cpu", copy=True) for name, tensor in buffers.items()}

    def _too_full(self, folder: Path) -> CheckpointError | None:
        """A disk without room, found before any rank writes: halfway the engine would leave ranks waiting."""
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in self._bare.parameters())  # ZeRO 3 empties them
        needed, free = _BYTES_A_PARAMETER * parameters, shutil.disk_usage(folder).free
        if free >= needed:
            return None
        return CheckpointError(f"{folder}: {free / 1e6:.0f} MB free, a checkpoint may take {needed / 1e6:.0f} MB")

    def _misfit(self, own: Path) -> CheckpointError | None:
        try:
            written_by = json.loads((own / _WRITTEN_BY).read_text(encoding="utf-8"))
            size, stage = written_by["world_size"], written_by["stage"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            return CheckpointError(f"{own}: no checkpoint of the DeepSpeed back end ({_first_line(error)})")
        if stage != self._stage:
            return CheckpointError(f"{own} was written with ZeRO stage {stage}, this job has stage {self._stage}")
        if stage and size != self._world.size:
            return CheckpointError(
                f"{own} was written by {size} ranks, here are {self._world.size}: under ZeRO each rank's part of the "
                f"optimizer stays its own, so go on with {size} ranks"
            )
        return None


class _Writer:
    """The engine's checkpoint writer, except that a failure is kept and not raised.

    Raised on one rank, it would leave the others waiting in the engine's next barrier.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._failure: CheckpointError | None = None

    def save(self, state_dict: dict[str, Any], path: str) -> None:
        try:
            self._engine.save(state_dict, path)
        except (OSError, RuntimeError) as error:
            Path(path).unlink(missing_ok=True)
            self._failure = CheckpointError(f"{path} cannot be written: {_first_line(error)}")

    def take_failure(self) -> CheckpointError | None:
        failure, self._failure = self._failure, None
        return failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def _deepspeed(world: World, device: torch.device) -> Any:
    """The package, imported for this device, quiet, with nothing to compile and a process group to use."""
    caches = Path(tempfile.gettempdir()) / f"bertjob-{os.getuid()}"  # this node's own: a lock on a shared home hangs
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(caches / "torch_extensions"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(caches / "triton"))
    os.environ.update(
        DS_ACCELERATOR=device.type,
        RANK=str(world.rank),
        WORLD_SIZE=str(world.size),
        LOCAL_RANK=str(world.local_rank),
    )
    try:
        deepspeed: Any = importlib.import_module("deepspeed")
    except ModuleNotFoundError as error:
        raise PreflightError(
            f"backend deepspeed: {error}; pip install 'bertjob[train]', or say backend torch"
        ) from error
    # Its collectives go by names that torch deprecates, which torch says once more in every step.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    deepspeed.ops.__compatible_ops__ = {}  # no extension counts as available, so none is compiled
    if not distributed.is_initialized():
        store = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group(store=store, rank=0, world_size=1)
    return deepspeed


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
