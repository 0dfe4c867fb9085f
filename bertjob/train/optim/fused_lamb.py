"""DeepSpeed's FusedLamb: LAMB as one CUDA kernel a tensor."""

import importlib
from typing import Any

import torch

from bertjob.config.job import Optimizer
from bertjob.train.deepspeed_ops import load_operator


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
