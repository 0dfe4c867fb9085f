"""Which parameters an optimizer trains and how: the groups, their learning rate, the norm of their gradients."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Groups = list[dict[str, Any]]
"""Parameters of an optimizer in groups, each with settings of its own."""


def parameter_groups(model: nn.Module, weight_decay: float) -> Groups:
    """All trained parameters in two groups: matrices decay, biases and LayerNorm weights do not.

    Biases and LayerNorm weights are the parameters with one dimension. Order within a group is the model's.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]


def clip(
    parameters: Iterable[nn.Parameter], max_norm: float | None, common: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Scale gradients down to global norm `max_norm` (not at all for None); the norm before, a scalar.

    Where ranks have gradients of their own, `common` makes of their norms one by which all of them scale.
    """
    trained = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
    if common is not None:
        norm = common(norm)
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(trained, max_norm, norm)
    return norm


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Let all groups take their next step with learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr
