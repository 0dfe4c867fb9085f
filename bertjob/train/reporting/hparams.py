"""hparams.json: what the training resolved; and provenance.json, where the login node has written none."""

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch import nn

from bertjob.config.checks.deepspeed_config import enabled_precision
from bertjob.config.job import Job
from bertjob.config.secret_values import masked
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.provenance import collect
from bertjob.rundir.world import World
from bertjob.train.device import resolve
from bertjob.version import __version__

_PACKAGES = ("torch", "transformers", "tokenizers", "deepspeed", "numpy")


def versions() -> dict[str, str]:
    """Versions of bertjob, Python and the packages that decide what a training computes; missing ones are left out."""
    found = {"bertjob": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hparams(
    job: Job,
    world: World,
    device: torch.device,
    devices: Sequence[str],
    accumulation: int,
    total_steps: int,
    model: nn.Module,
) -> dict[str, Any]:
    """What hparams.json says.

    Args:
        job: as resolved.
        world: any rank's.
        device: where it computes.
        devices: every rank's host and device.
        accumulation: micro batches that a rank adds up in one step.
        total_steps: optimizer steps of the training.
        model: the task's model.
    """
    return {
        "job": msgspec.to_builtins(job),
        "world_size": world.size,
        "ranks_per_node": world.local_size,
        "devices": list(devices),
        "global_batch": job.train.global_batch,
        "micro_batch": job.train.micro_batch,
        "accumulation": accumulation,
        "precision": _precision(job, device),
        "backend": job.backend,
        "deepspeed_config": _deepspeed_config(job, world, device, accumulation),
        "total_steps": total_steps,
        # ZeRO 3 leaves only a part of each parameter here.
        "parameters": sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in model.parameters()),
        "versions": versions(),
    }


def write_hparams(held: HeldRun, values: dict[str, Any]) -> None:
    """Replace hparams.json; stars stand in place of secrets.

    Raises:
        LeaseError: another start has taken over.
        OSError: it cannot be written.
    """
    held.write_json(held.there.hparams, masked(msgspec.to_builtins(values, enc_hook=str)), indent=2)


def write_provenance(held: HeldRun, job: Job) -> None:
    """Write what is known here into provenance.json, unless the login node, which knows more, has done so.

    Raises:
        LeaseError: another start has taken over.
        OSError: it cannot be written.
    """
    if not held.there.provenance.exists():
        origin = collect(job.name, "", job.image.ref, sys.orig_argv)
        held.write_json(held.there.provenance, origin, indent=2)


def _precision(job: Job, device: torch.device) -> str:
    """The precision in force: DeepSpeed's own section wins over the job's key."""
    own = enabled_precision(job.deepspeed) if job.backend == "deepspeed" else None
    return own or resolve(job.precision, device)


def _deepspeed_config(job: Job, world: World, device: torch.device, accumulation: int) -> dict[str, Any] | None:
    if job.backend != "deepspeed":
        return None
    from bertjob.train.backends.deepspeed import deepspeed_config

    return deepspeed_config(job, accumulation, world.size, device)
