"""The compressed optimizers in float64, in one process, tensor by tensor and as plain as they can be said.

Tensors are flat. `gradients[step][rank][tensor]` are given, whatever the weights are.
"""

import torch
from torch import Tensor

Gradients = list[list[list[Tensor]]]


def rms(values: Tensor, live: Tensor) -> Tensor:
    """Root mean square of the live ones."""
    return (values[live].square().sum() / max(1, int(live.sum()))).sqrt()


def signs(values: Tensor) -> Tensor:
    return torch.copysign(torch.ones_like(values), values)


class OneBitMean:
    """The 1-bit mean of one tensor over ranks; each rank's share of it is a multiple of 8 values."""

    def __init__(self, ranks: int, size: int) -> None:
        share = 8 * -(-size // (8 * ranks))
        self.shares = [slice(start, min(start + share, size)) for start in range(0, size, share)]
        self.worker = [torch.zeros(size, dtype=torch.float64) for _ in range(ranks)]
        self.server = torch.zeros(size, dtype=torch.float64)

    def __call__(self, values: list[Tensor], live: Tensor) -> Tensor:
        said = []
        for rank, own in enumerate(values):
            wanted = (own + self.worker[rank]) * live
            said.append(rms(wanted, live) * signs(wanted))
            self.worker[rank] = wanted - said[-1]
        mean = torch.zeros_like(values[0])
        for share in self.shares:
            wanted = (torch.stack([own[share] for own in said]).mean(0) + self.server[share]) * live[share]
            mean[share] = rms(wanted, live[share]) * signs(wanted)
            self.server[share] = wanted - mean[share]
        return mean * live


class Simulation:
    """What all three have in common; one rank's weights are all ranks' but in local steps."""

    def __init__(self, weights: list[Tensor], ranks: int, decays: list[float], freeze: int) -> None:
        self.weights = [[weight.double().clone() for weight in weights] for _ in range(ranks)]
        self.ranks, self.decays, self.freeze = ranks, decays, freeze
        self.first = [[torch.zeros_like(weight) for weight in self.weights[0]] for _ in range(ranks)]
        self.second = [torch.zeros_like(weight) for weight in self.weights[0]]
        self.means = [OneBitMean(ranks, weight.numel()) for weight in self.weights[0]]
        self.steps = self.updates = self.held = 0
        self.beta1, self.beta2, self.eps = 0.9, 0.99, 1e-6

    def direction(self, rank: int, tensor: int) -> Tensor:
        """0 where there never was a gradient; held to the limit once something has been compressed."""
        first = self.first[rank][tensor] / (1 - self.beta1**self.steps)
        found = first / ((self.second[tensor] / (1 - self.beta2**self.updates)).sqrt() + self.eps)
        found = torch.where(self.second[tensor] > 0, found, 0.0)
        if self.steps == self.updates:
            return found
        most = (1 - self.beta1) / ((1 - self.beta2) * (1 - self.beta1**2 / self.beta2)) ** 0.5
        self.held += int((found.abs() > most).sum())
        return found.clamp(-most, most)

    def take_in(self, gradients: list[list[Tensor]], lr: float) -> None:
        self.steps += 1
        if self.is_full():
            self.updates += 1
            for tensor in range(len(self.second)):
                mean = torch.stack([own[tensor] for own in gradients]).mean(0)
                self.second[tensor] = self.beta2 * self.second[tensor] + (1 - self.beta2) * mean**2
                first = self.beta1 * self.first[0][tensor] + (1 - self.beta1) * mean
                for rank in range(self.ranks):
                    self.first[rank][tensor] = first
            self.full(lr)
        else:
            for rank, own in enumerate(gradients):
                for tensor, gradient in enumerate(own):
                    self.first[rank][tensor] = self.beta1 * self.first[rank][tensor] + (1 - self.beta1) * gradient
            self.compressed(lr)

    def is_full(self) -> bool:
        return self.steps <= self.freeze

    def exchange(self) -> None:
        for tensor, mean in enumerate(self.means):
            agreed = mean([first[tensor] for first in self.first], self.second[tensor] > 0)
            for rank in range(self.ranks):
                self.first[rank][tensor] = agreed

    def full(self, lr: float) -> None:
        self.descend(lr)

    def compressed(self, lr: float) -> None:
        self.exchange()
        self.descend(lr)

    def descend(self, lr: float) -> None:
        for rank, weights in enumerate(self.weights):
            for tensor, weight in enumerate(weights):
                weights[tensor] = weight * (1 - lr * self.decays[tensor]) - lr * self.direction(rank, tensor)


class Lamb(Simulation):
    """1-bit LAMB."""

    def __init__(self, weights: list[Tensor], ranks: int, decays: list[float], freeze: int) -> None:
        super().__init__(weights, ranks, decays, freeze)
        self.trust, self.coeff_beta, self.bounds, self.threshold = (0.08, 0.5), 0.9, (0.5, 4.0), 0.1
        self.coefficients: list[float] = [0.0] * len(weights)
        self.factors = [1.0] * len(weights)
        self.fresh: list[Tensor] = []

    def full(self, lr: float) -> None:
        for tensor, weight in enumerate(self.weights[0]):
            update = self.direction(0, tensor) + self.decays[tensor] * weight
            size, length = weight.norm().item(), update.norm().item()
            ratio = min(max(size / length, self.trust[0]), self.trust[1]) if size > 0 and length > 0 else 1.0
            mean = self.coefficients[tensor]
            self.coefficients[tensor] = self.coeff_beta * mean + (1 - self.coeff_beta) * ratio if mean else ratio
            self.move(tensor, lr * ratio * update)

    def compressed(self, lr: float) -> None:
        before = [first.clone() for first in self.agreed]
        self.fresh = self.fresh or [second.clone() for second in self.second]
        self.exchange()
        for tensor, weight in enumerate(self.weights[0]):
            gradient = (self.first[0][tensor] - self.beta1 * before[tensor]) / (1 - self.beta1)
            self.fresh[tensor] = self.beta2 * self.fresh[tensor] + (1 - self.beta2) * gradient**2
            direction = self.direction(0, tensor)
            update = direction + self.decays[tensor] * weight
            frozen = (self.second[tensor] / (1 - self.beta2**self.updates)).sqrt() + self.eps
            fresh = (self.fresh[tensor] / (1 - self.beta2**self.steps)).sqrt() + self.eps
            live = self.second[tensor] > 0
            change = (frozen / fresh)[live].max().item()
            if self.decays[tensor]:
                share = min(1.0, (direction.norm() / update.norm()).item())
                change = change * share + 1 - share
            change = min(max(change, self.bounds[0]), self.bounds[1])
            last = self.factors[tensor]
            self.factors[tensor] = min(max(change, last * (1 - self.threshold)), last * (1 + self.threshold))
            self.move(tensor, lr * self.coefficients[tensor] * self.factors[tensor] * update)

    def take_in(self, gradients: list[list[Tensor]], lr: float) -> None:
        self.agreed = list(self.first[0])
        super().take_in(gradients, lr)

    def move(self, tensor: int, by: Tensor) -> None:
        for weights in self.weights:
            weights[tensor] = weights[tensor] - by


class ZeroOne(Simulation):
    """0/1 Adam."""

    def __init__(
        self, weights: list[Tensor], ranks: int, decays: list[float], freeze: int, full: set[int], exchanges: set[int]
    ) -> None:
        """`full` are the steps (from 1) that update the variance, `exchanges` those after the freeze that exchange."""
        super().__init__(weights, ranks, decays, freeze)
        self.of_variance, self.exchanging = full, exchanges
        self.anchor = self.weights[0]
        self.lrs: list[float] = []
        self.sums = [[torch.zeros_like(weight) for weight in self.anchor] for _ in range(ranks)]

    def is_full(self) -> bool:
        return self.steps in self.of_variance

    def full(self, lr: float) -> None:
        super().full(lr)
        self.anchor = list(self.weights[0])

    def compressed(self, lr: float) -> None:
        self.lrs.append(lr)
        for rank in range(self.ranks):
            for tensor, first in enumerate(self.first[rank]):
                self.sums[rank][tensor] = self.sums[rank][tensor] + lr * first
        if self.steps > self.freeze and self.steps not in self.exchanging:
            self.descend(lr)
            return
        total = sum(self.lrs)
        self.first = [[value / total for value in own] for own in self.sums]
        self.exchange()
        for tensor, anchor in enumerate(self.anchor):
            for lr in self.lrs:
                anchor = anchor * (1 - lr * self.decays[tensor])
            agreed = anchor - total * self.direction(0, tensor)
            for rank in range(self.ranks):
                self.weights[rank][tensor] = agreed
                self.sums[rank][tensor] = torch.zeros_like(agreed)
        self.anchor, self.lrs = list(self.weights[0]), []
