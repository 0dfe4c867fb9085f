"""LAMB: Adam whose step is scaled for each tensor by the tensor's own norm, for very large batches.

Source: You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", arXiv 1904.00962,
algorithm 2, with phi the identity and bias-corrected moments. The bounds of the trust ratio are those of DeepSpeed's
BERT pre-training tutorial, which calls them the min and max coefficient.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer

from bertjob.train.optim.groups import Groups

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job


class Lamb(Optimizer):
    """LAMB over all tensors of a group at once (torch's foreach kernels), on CPUs and GPUs, without a synchronisation.

    For each tensor x with gradient g, in step t::

        m = b1 m + (1 - b1) g                 v = b2 v + (1 - b2) g^2
        u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay x
        x = x - lr clamp(|x| / |u|, *trust) u

    Where a norm is 0 the trust ratio is 1, as for biases that begin at 0.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        trust: tuple[float, float] = (0.08, 0.5),
    ) -> None:
        """LAMB over `params`, tensors or groups of them with settings of their own.

        Args:
            params: what to train.
            lr: learning rate.
            betas: decay of the first and second moment.
            eps: added to the root of the second moment.
            weight_decay: decoupled, part of the update whose norm is taken.
            trust: bounds of the trust ratio.

        Raises:
            ValueError: a setting is out of its range.
        """
        if not (lr >= 0 and eps > 0 and weight_decay >= 0 and all(0 <= beta < 1 for beta in betas)):
            raise ValueError(f"lr {lr}, eps {eps}, weight_decay {weight_decay} or betas {betas} is out of range")
        if not 0 <= trust[0] <= trust[1]:
            raise ValueError(f"trust {trust}: the bounds of the trust ratio are 0 <= low <= high")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "trust": trust})
        self._ratios: list[Tensor] = []

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step by the gradients there are; tensors without one stay."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._ratios = [
            _step(group, [self._state_of(tensor) for tensor in tensors], tensors)
            for group in self.param_groups
            if (tensors := [tensor for tensor in group["params"] if tensor.grad is not None])
        ]
        return loss

    def trust_ratios(self) -> Tensor:
        """The bounded trust ratios of the newest step, one a tensor: ``[tensors]``, in the order of the groups."""
        return torch.cat(self._ratios) if self._ratios else torch.empty(0)

    def gauges(self) -> dict[str, float]:
        """The spread of the trust ratios of the newest step."""
        return trust_gauges(self.trust_ratios())

    def _state_of(self, tensor: Tensor) -> dict[str, Tensor]:
        state = self.state[tensor]
        if not state:
            state["step"] = torch.zeros(())  # on the CPU: it is read in each step
            state["exp_avg"] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(tensor, memory_format=torch.preserve_format)
        return dict(state)


def lamb(groups: Groups, settings: "job.Optimizer") -> Lamb:
    """LAMB by the settings of a job."""
    return Lamb(groups, lr=settings.lr, betas=settings.betas, eps=settings.eps, trust=settings.trust)


def _step(group: dict[str, Any], states: list[dict[str, Tensor]], tensors: list[Tensor]) -> Tensor:
    """Update the tensors and moments of one group; the trust ratios, ``[tensors]``."""
    gradients = [tensor.grad for tensor in tensors if tensor.grad is not None]
    first, second, steps = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step"))
    beta1, beta2 = group["betas"]
    torch._foreach_add_(steps, 1)
    torch._foreach_lerp_(first, gradients, 1 - beta1)
    torch._foreach_mul_(second, beta2)
    torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)

    counts = [step.item() for step in steps]  # they differ where a tensor has not had a gradient in each step
    roots = torch._foreach_sqrt(second)
    torch._foreach_div_(roots, [(1 - beta2**count) ** 0.5 for count in counts])
    torch._foreach_add_(roots, group["eps"])
    updates = list(torch._foreach_div(first, roots))
    torch._foreach_div_(updates, [1 - beta1**count for count in counts])
    if group["weight_decay"]:
        torch._foreach_add_(updates, tensors, alpha=group["weight_decay"])

    ratios = trust_ratios(tensors, updates, group["trust"])
    torch._foreach_mul_(updates, ratios.unbind())
    torch._foreach_add_(tensors, updates, alpha=-group["lr"])
    return ratios


def trust_ratios(tensors: list[Tensor], updates: list[Tensor], bounds: tuple[float, float]) -> Tensor:
    """``|x| / |u|`` of each tensor x and its update u, bounded; 1 where one of them is 0: ``[tensors]``."""
    sizes, lengths = (torch.stack(torch._foreach_norm(values)) for values in (tensors, updates))
    known = (sizes > 0) & (lengths > 0)
    return torch.where(known, (sizes / lengths).clamp(*bounds), torch.ones_like(sizes))


def trust_gauges(ratios: Tensor) -> dict[str, float]:
    """The spread of trust ratios over the tensors, for metrics.jsonl; nothing before the first step."""
    if not len(ratios):
        return {}
    return {"trust_min": ratios.min().item(), "trust_mean": ratios.mean().item(), "trust_max": ratios.max().item()}
