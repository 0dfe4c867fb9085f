"""An optimizer as somebody would add it: a module, and a row."""

from collections.abc import Callable
from typing import Any

import torch

from bertjob.config.job import Optimizer
from bertjob.config.registry.optimizers import OptimizerRow


class SignDescent(torch.optim.Optimizer):
    """Each value goes a learning rate against the sign of its momentum (Bernstein et al., arXiv 1802.04434)."""

    def __init__(self, groups: list[dict[str, Any]], *, lr: float, beta: float) -> None:
        super().__init__(groups, {"lr": lr, "beta": beta})
        self._moved = 0

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        assert closure is None
        self._moved = 0
        for group in self.param_groups:
            for tensor in group["params"]:
                if tensor.grad is None:
                    continue
                momentum = self.state[tensor].setdefault("momentum", torch.zeros_like(tensor))
                momentum.lerp_(tensor.grad, 1 - group["beta"])
                tensor.mul_(1 - group["lr"] * group["weight_decay"]).sub_(momentum.sign(), alpha=group["lr"])
                self._moved += int(momentum.count_nonzero())

    def gauges(self) -> dict[str, float]:
        return {"moved": float(self._moved)}


def sign_descent(groups: list[dict[str, Any]], settings: Optimizer) -> SignDescent:
    return SignDescent(groups, lr=settings.lr, beta=settings.betas[0])


NAME = "sign-descent"
ROW = OptimizerRow(make="toy_optimizer:sign_descent", label="Sign descent", moments=1, whole_tensors=True, one_bit=None)
