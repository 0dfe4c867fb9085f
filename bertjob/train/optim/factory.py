"""From a job's section to its optimizer: one function per optimizer, one row of the table."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from bertjob.config.job import ONE_BIT, Optimizer
from bertjob.train.deepspeed_ops import load_operator
from bertjob.train.optim.groups import parameter_groups
from bertjob.train.optim.lamb import Lamb
from bertjob.train.optim.onebit import CompressedOptimizer, OneBitAdam, OneBitLamb, ZeroOneAdam
from bertjob.train.optim.onebit.routes_mpi import MpiTransport


def fused_lamb(groups: list[dict[str, Any]], said: Optimizer) -> torch.optim.Optimizer:
    """LAMB (You et al., arXiv 1904.00962) by DeepSpeed, with the bounds of ``optimizer.trust``.

    Raises:
        SpecError: there is no GPU.
        PreflightError: DeepSpeed's operator cannot be compiled or loaded here.
    """
    load_operator("optimizer.name fused-lamb", "FusedLambBuilder")
    package: Any = importlib.import_module("deepspeed.ops.lamb")
    low, high = said.trust
    made: torch.optim.Optimizer = package.FusedLamb(
        groups, lr=said.lr, betas=said.betas, eps=said.eps, min_coeff=low, max_coeff=high
    )
    return made


Groups = list[dict[str, Any]]


def make_optimizer(model: nn.Module, optimizer: Optimizer, *, mpi: bool = False) -> torch.optim.Optimizer:
    """The job's optimizer over the model's groups; the learning rate is the peak, the loop sets each step's own.

    Args:
        model: what to train.
        optimizer: the job's section.
        mpi: whether the ranks have called MPI_Init.

    Raises:
        PreflightError: it would talk by MPI, and there is no mpi4py.
    """
    # weight_decay is given for each group: torch's own default for AdamW is 0.01, not 0.
    groups = parameter_groups(model, optimizer.weight_decay)
    if optimizer.name in ONE_BIT:
        return _onebit(groups, optimizer, mpi=mpi)
    return OPTIMIZERS[optimizer.name](groups, optimizer)


def gauges(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """What an optimizer tells of its newest step.

    LAMB: the spread of its trust ratios over the tensors. 1-bit optimizers: whether the variance is frozen, and the
    bytes that this rank sent to others.
    """
    told: dict[str, float] = {}
    if len(ratios := _trust_ratios(optimizer)):
        told |= {"trust_min": ratios.min().item(), "trust_mean": ratios.mean().item(), "trust_max": ratios.max().item()}
    if isinstance(optimizer, CompressedOptimizer):
        told |= {"frozen": float(optimizer.frozen_after is not None), "bytes_sent": float(optimizer.bytes_sent)}
    return told


def _trust_ratios(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """Of the newest step, one a tensor; none where the optimizer has none."""
    if isinstance(optimizer, Lamb | OneBitLamb):
        return optimizer.trust_ratios()
    coefficients = getattr(optimizer, "lamb_coeffs", ())  # DeepSpeed's FusedLamb
    return torch.cat([coefficient.reshape(1) for coefficient in coefficients]) if coefficients else torch.empty(0)


def _adamw(groups: Groups, said: Optimizer) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); one fused kernel on CPUs and GPUs."""
    return torch.optim.AdamW(groups, lr=said.lr, betas=said.betas, eps=said.eps, fused=True)


def _lamb(groups: Groups, said: Optimizer) -> torch.optim.Optimizer:
    return Lamb(groups, lr=said.lr, betas=said.betas, eps=said.eps, trust=said.trust)


def _onebit(groups: Groups, said: Optimizer, *, mpi: bool) -> torch.optim.Optimizer:
    """1-bit Adam, 1-bit LAMB or 0/1 Adam, over MPI where the job says so."""
    own = said.onebit
    assert said.freeze_step is not None, "a job without it is refused before it starts"
    by_mpi = mpi if own.transport == "auto" else own.transport == "mpi"
    common: dict[str, Any] = {
        "lr": said.lr,
        "betas": said.betas,
        "eps": said.eps,
        "freeze_step": said.freeze_step,
        "transport": MpiTransport(cuda_aware=bool(own.cuda_aware)) if by_mpi else None,
        "hierarchical": own.hierarchical,
        "check_every": own.check_every,
    }
    match said.name:
        case "onebit-lamb":
            return OneBitLamb(
                groups,
                trust=said.trust,
                coeff_beta=own.coeff_beta,
                factor_min=own.factor_min,
                factor_max=own.factor_max,
                factor_threshold=own.factor_threshold,
                **common,
            )
        case "zeroone-adam":
            return ZeroOneAdam(
                groups,
                var_update_scaler=own.var_update_scaler,
                local_step_scaler=own.local_step_scaler,
                local_step_clipper=own.local_step_clipper,
                **common,
            )
    return OneBitAdam(groups, **common)


OPTIMIZERS: Mapping[str, Callable[[Groups, Optimizer], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "lamb": _lamb,
    "fused-lamb": fused_lamb,
}
