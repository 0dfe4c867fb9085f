"""The device of a rank, and the precision of its forward pass; weights, gradients and optimizer stay float32."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import torch
from torch import distributed, nn

from bertjob.config.job import Precision
from bertjob.errors import SpecError, WorldError
from bertjob.rundir.world import World

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPUINFO = Path("/proc/cpuinfo")
_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls bf16 arithmetic: x86's two sets of instructions, and Arm's."""


def choose_device(world: World, gpus_per_node: int | None) -> torch.device:
    """The GPU of this rank, made current, or the CPU.

    Args:
        world: this rank's place.
        gpus_per_node: what the job asks for; 0 trains on CPUs, None takes what there is.

    Raises:
        WorldError: the job asks for GPUs and torch sees none, or too few for the ranks of this node.
    """
    visible = torch.cuda.device_count() if gpus_per_node != 0 else 0
    if visible == 0:
        if gpus_per_node:
            shown = os.environ.get("CUDA_VISIBLE_DEVICES", "unset")
            raise WorldError(
                f"the job asks for {gpus_per_node} GPUs a node, but torch {torch.__version__} sees none here "
                f"(CUDA_VISIBLE_DEVICES is {shown}); resources.gpus_per_node: 0 trains on CPUs"
            )
        return torch.device("cpu")
    # Slurm's --gpus-per-task shows each rank its own GPU only, as number 0.
    index = 0 if visible == 1 else world.local_rank
    if index >= visible:
        raise WorldError(
            f"local rank {world.local_rank} has no GPU: {visible} are visible for {world.local_size} ranks"
        )
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def device_name(device: torch.device) -> str:
    """E.g. ``cuda:0 NVIDIA H200``, or ``cpu (2 threads)``."""
    if device.type == "cuda":
        return f"{device} {torch.cuda.get_device_name(device)}"
    return f"cpu ({torch.get_num_threads()} threads)"


Resolved = Literal["fp32", "bf16", "fp16"]


def resolve(precision: Precision, device: torch.device) -> Resolved:
    """What `precision` means on `device`: ``auto`` is bf16 where the device has it, else fp16 on GPUs, fp32 on CPUs.

    Raises:
        SpecError: fp16 on a CPU, where it is slower than fp32 by an order of magnitude.
    """
    if precision == "fp16" and device.type == "cpu":
        raise SpecError("precision fp16 needs a GPU; on a CPU say bf16, fp32 or auto")
    if precision != "auto":
        return precision
    if has_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether `device` has bf16 arithmetic: GPUs from compute capability 8.0 (A100) on, CPUs by their flags."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return CPUINFO.exists() and not _CPU_FLAGS.isdisjoint(CPUINFO.read_text().split())


def autocast(precision: Resolved, device: torch.device) -> AbstractContextManager[object]:
    """The context of a forward pass in `precision`."""
    return torch.autocast(device.type, _DTYPES.get(precision), enabled=precision != "fp32")


def loss_scaler(precision: Resolved, device: torch.device, *, together: bool = False) -> torch.amp.GradScaler:
    """Dynamic loss scaling for fp16 (Micikevicius et al., arXiv 1710.03740); does nothing in fp32 and bf16.

    With `together`, ranks whose gradients are their own agree on whether one of them has overflowed.
    """
    if together and precision == "fp16":
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler  # two seconds

        return ShardedGradScaler(device.type, process_group=distributed.group.WORLD)
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


class InPrecision(nn.Module):
    """A model whose forward pass runs in one precision, wherever it is called from."""

    def __init__(self, module: nn.Module, precision: Resolved, device: torch.device) -> None:
        super().__init__()
        self.module = module
        self.precision: Resolved = precision
        self.device = device

    def forward(self, **inputs: object) -> object:
        """The model's output for `inputs`."""
        with autocast(self.precision, self.device):
            return self.module(**inputs)
