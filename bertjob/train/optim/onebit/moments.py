"""Adam's moments and the direction they point to, for many tensors at once (torch's foreach functions)."""

import math

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


def limit(betas: tuple[float, float]) -> float:
    """What a direction of Adam is at most, for any gradients: ``(1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2))``.

    By the inequality of Cauchy and Schwarz over the two moments' sums; Kingma and Ba, arXiv 1412.6980, section 2.1, say
    it for a single gradient. No number limits it where b1^2 is not below b2.
    """
    beta1, beta2 = betas
    if not beta1**2 < beta2:
        return math.inf
    return (1 - beta1) / math.sqrt((1 - beta2) * (1 - beta1**2 / beta2))


def hold(directions: list[Tensor], most: float) -> None:
    """Let no value go further from 0 than `most`."""
    if math.isfinite(most):
        torch._foreach_clamp_max_(directions, most)
        torch._foreach_clamp_min_(directions, -most)
