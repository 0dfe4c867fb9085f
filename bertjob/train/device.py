"""Which GPU, or the CPU, a rank computes on."""

import os

import torch

from bertjob.errors import WorldError
from bertjob.rundir.world import World


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
