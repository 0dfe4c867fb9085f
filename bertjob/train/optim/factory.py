"""From a job's section to its optimizer, and what optimizers report of a step."""

import importlib
from collections.abc import Callable
from typing import Any, Protocol, cast, runtime_checkable

import torch
from msgspec.structs import replace
from torch import nn

from bertjob.config.job import Optimizer
from bertjob.config.registry.code import load_code
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.train.deepspeed_ops import load_operator
from bertjob.train.optim.groups import Groups, parameter_groups
from bertjob.train.optim.lamb import trust_gauges

Make = Callable[[Groups, Optimizer], torch.optim.Optimizer]
"""What a row's `make` names: an optimizer over parameter groups by the job's section, `onebit.transport` decided."""


@runtime_checkable
class Reports(Protocol):
    """An optimizer that has something to report."""

    def gauges(self) -> dict[str, float]:
        """Figures of the newest step, for metrics.jsonl."""


def make_optimizer(model: nn.Module, settings: Optimizer, *, mpi: bool = False) -> torch.optim.Optimizer:
    """The job's optimizer over the model's groups; the learning rate is the peak, the loop sets each step's own.

    Args:
        model: what to train.
        settings: the job's section.
        mpi: whether the ranks have called MPI_Init.

    Raises:
        SpecError: it needs a GPU, and there is none.
        PreflightError: it would exchange over MPI, and there is no mpi4py; or a package that it needs is missing.
    """
    if settings.onebit.transport == "auto":
        settings = replace(settings, onebit=replace(settings.onebit, transport="mpi" if mpi else "torch"))
    make = cast("Make", load_code(OPTIMIZERS[settings.name].make))
    # weight_decay is given for each group: torch's own default for AdamW is 0.01, not 0.
    return make(parameter_groups(model, settings.weight_decay), settings)


def gauges(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """What an optimizer reports of its newest step; nothing for most."""
    if isinstance(optimizer, Reports):
        return optimizer.gauges()
    coefficients = getattr(optimizer, "lamb_coeffs", ())  # DeepSpeed's FusedLamb
    return trust_gauges(torch.cat([each.reshape(1) for each in coefficients])) if coefficients else {}


def adamw(groups: Groups, settings: Optimizer) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); one fused kernel on CPUs and GPUs."""
    return torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, fused=True)


def fused_lamb(groups: Groups, settings: Optimizer) -> torch.optim.Optimizer:
    """LAMB (You et al., arXiv 1904.00962) by DeepSpeed, with the bounds of ``optimizer.trust``.

    Raises:
        SpecError: there is no GPU.
        PreflightError: DeepSpeed's operator cannot be compiled or loaded here.
    """
    load_operator(f"optimizer.name {settings.name}", "FusedLambBuilder")
    package: Any = importlib.import_module("deepspeed.ops.lamb")
    low, high = settings.trust
    made: torch.optim.Optimizer = package.FusedLamb(
        groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, min_coeff=low, max_coeff=high
    )
    return made
