"""The back end that the job names."""

import torch
from torch import nn

from bertjob.config.job import Job
from bertjob.rundir.world import World
from bertjob.train.backends import Backend


def make_backend(model: nn.Module, job: Job, world: World, device: torch.device, accumulation: int) -> Backend:
    """The job's back end around a model on the CPU, the same on every rank.

    Args:
        model: a task's model.
        job: says which back end, its optimizer and its precision.
        world: this rank's place; for more than one rank torch.distributed must be initialised.
        device: where this rank trains.
        accumulation: micro batches a rank takes in one step.

    Raises:
        SpecError: what the job says does not go together on this device.
        PreflightError: the back end's package is missing.
    """
    # Either import takes seconds; DeepSpeed must not be imported before its back end has set its environment.
    if job.backend == "deepspeed":
        from bertjob.train.backends.deepspeed import DeepSpeedBackend

        return DeepSpeedBackend(model, job, world, device, accumulation)
    from bertjob.train.backends.torch import TorchBackend

    return TorchBackend(model, job, world, device, accumulation)
