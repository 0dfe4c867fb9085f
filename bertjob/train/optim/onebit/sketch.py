"""The norm of the mean of all ranks' gradients, which no rank has, from a few numbers of each.

Every value is given a random sign and added to one of `WIDTH` sums. Sums of the mean are the mean of the ranks' sums,
and the expectation of their squares is the squared norm: cross terms have random signs. The standard deviation is
sqrt(2 / WIDTH) of it, 3 % of the square and 1.6 % of the norm. Source: Alon, Matias and Szegedy, "The space complexity
of approximating the frequency moments", 1996, as Charikar, Chen and Farach-Colton's count sketch, 2002.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

WIDTH = 2048
"""Sums: 8 kB a step."""
_ROWS = 512
"""Values of one sum that have signs of their own; each next as many have the same ones, times one sign."""


class Sketch:
    """Signs for tensors of given sizes; the same on all ranks."""

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        """For tensors of `sizes` values on `device`."""
        blocks = [-(-size // (_ROWS * WIDTH)) for size in sizes]
        self._first = [sum(blocks[:number]) for number in range(len(blocks))]
        draw = torch.Generator().manual_seed(0)
        signs = torch.randint(2, (_ROWS + sum(blocks), WIDTH), generator=draw, dtype=torch.float32) * 2 - 1
        self._inside, self._of_block = signs[:_ROWS].to(device), signs[_ROWS:].to(device)

    def sums(self, gradients: Iterable[tuple[int, Tensor]]) -> Tensor:
        """Of these tensors' values, each with its number among `sizes`: float32 ``[WIDTH]``."""
        found = torch.zeros_like(self._inside[0])
        for number, gradient in gradients:
            for place, block in enumerate(torch.split(gradient.reshape(-1), _ROWS * WIDTH), start=self._first[number]):
                rows = functional.pad(block, (0, -len(block) % WIDTH)).view(-1, WIDTH).float()
                found += (rows * self._inside[: len(rows)]).sum(0) * self._of_block[place]
        return found
