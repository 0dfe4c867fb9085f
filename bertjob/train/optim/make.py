"""From a job's section to its optimizer: one function an optimizer, one row of the table."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from bertjob.spec.job import Optimizer
from bertjob.train.optim.fused_lamb import fused_lamb
from bertjob.train.optim.groups import parameter_groups
from bertjob.train.optim.lamb import Lamb

Groups = list[dict[str, Any]]


def make_optimizer(model: nn.Module, optimizer: Optimizer) -> torch.optim.Optimizer:
    """The job's optimizer over the model's groups; the learning rate is the peak, the loop sets each step's own."""
    # weight_decay is given for each group: torch's own default for AdamW is 0.01, not 0.
    return OPTIMIZERS[optimizer.name](parameter_groups(model, optimizer.weight_decay), optimizer)


def gauges(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """What an optimizer tells of its newest step: LAMB the spread of its trust ratios over the tensors."""
    ratios = _trust_ratios(optimizer)
    if not len(ratios):
        return {}
    return {"trust_min": ratios.min().item(), "trust_mean": ratios.mean().item(), "trust_max": ratios.max().item()}


def _trust_ratios(optimizer: torch.optim.Optimizer) -> torch.Tensor:
    """Of the newest step, one a tensor; none where the optimizer has none."""
    if isinstance(optimizer, Lamb):
        return optimizer.trust_ratios()
    coefficients = getattr(optimizer, "lamb_coeffs", ())  # DeepSpeed's FusedLamb
    return torch.cat([coefficient.reshape(1) for coefficient in coefficients]) if coefficients else torch.empty(0)


def _adamw(groups: Groups, said: Optimizer) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101); one fused kernel on CPUs and GPUs."""
    return torch.optim.AdamW(groups, lr=said.lr, betas=said.betas, eps=said.eps, fused=True)


def _lamb(groups: Groups, said: Optimizer) -> torch.optim.Optimizer:
    return Lamb(groups, lr=said.lr, betas=said.betas, eps=said.eps, trust=said.trust)


OPTIMIZERS: Mapping[str, Callable[[Groups, Optimizer], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "lamb": _lamb,
    "fused-lamb": fused_lamb,
}
