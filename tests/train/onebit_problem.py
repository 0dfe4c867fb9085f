"""A small task that ranks learn together: the losses of DeepSpeed's and of our 1-bit Adam on it are compared."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

STEPS, FREEZE = 200, 50
SETTINGS = {"lr": 2e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
_SAMPLES = 32
_INPUTS, _CLASSES = 8, 32
"""Shares of both tensors are without padding, which DeepSpeed's scales would count. Few values and a low learning rate:
where a value is so near to 0 that its sign hangs on rounding, two trainings part, and that must be rare."""


def network() -> nn.Module:
    """The same on all ranks."""
    draw = torch.Generator().manual_seed(1)
    layer = nn.Linear(_INPUTS, _CLASSES)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(_CLASSES, _INPUTS, generator=draw) / _INPUTS**0.5)
        layer.bias.copy_(0.1 * torch.randn(_CLASSES, generator=draw))
    return layer


def batches(rank: int, ranks: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Each step's inputs and classes for one rank: the greatest of 32 projections, the same ones on all ranks."""
    projections = torch.randn(_INPUTS, _CLASSES, generator=torch.Generator().manual_seed(2))
    for step in range(STEPS):
        draw = torch.Generator().manual_seed(1000 + step * ranks + rank)
        inputs = torch.randn(_SAMPLES, _INPUTS, generator=draw)
        yield inputs, (inputs @ projections).argmax(1)
