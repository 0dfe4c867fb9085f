"""Adam's moments and the direction they point to, for many tensors at once (torch's foreach functions)."""

import torch
from torch import Tensor


def update(first: list[Tensor], second: list[Tensor], gradients: list[Tensor], betas: tuple[float, float]) -> None:
    """Let both moments take in the gradients."""
    torch._foreach_lerp_(first, gradients, 1 - betas[0])
    torch._foreach_mul_(second, betas[1])
    torch._foreach_addcmul_(second, gradients, gradients, 1 - betas[1])


def roots(second: list[Tensor], correction: float, eps: float) -> list[Tensor]:
    """``sqrt(v / correction) + eps``: new tensors."""
    found = torch._foreach_sqrt(second)
    torch._foreach_div_(found, correction**0.5)
    torch._foreach_add_(found, eps)
    return list(found)


def directions(first: list[Tensor], second: list[Tensor], corrections: tuple[float, float], eps: float) -> list[Tensor]:
    """``m / c1 / (sqrt(v / c2) + eps)`` for moments m and v and their bias corrections: new tensors."""
    found = roots(second, corrections[1], eps)
    torch._foreach_mul_(found, corrections[0])
    return list(torch._foreach_div(first, found))
