"""An optimizer's state in flat buffers, each with a name and a part for every tensor."""

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

from bertjob.train.optim.onebit.flat import FlatTensors

FIRST, SECOND = "exp_avg", "exp_avg_sq"
"""Names of the moments' buffers, as other optimizers of torch call them."""


class Buffers:
    """All buffers of an optimizer, by their names."""

    def __init__(self, flat: FlatTensors) -> None:
        """None yet, for the tensors of `flat`."""
        self._flat = flat
        self._whole: dict[str, Tensor] = {}
        self._views: dict[str, list[Tensor]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._whole

    def __getitem__(self, name: str) -> Tensor:
        """The whole of one: one dimension, and gaps between tensors are 0."""
        return self._whole[name]

    def add(self, *names: str) -> None:
        """Make buffers of zeros, where there are none of these names."""
        for name in names:
            if name not in self:
                self._whole[name] = self._flat.zeros()
                self._views[name] = self._flat.views(self._whole[name])

    def part(self, name: str, numbers: Iterable[int]) -> list[Tensor]:
        """A buffer's values of these tensors, in their shapes."""
        return [self._views[name][number] for number in numbers]

    def show(self, state: MutableMapping[Tensor, Any]) -> None:
        """Make each tensor's parts its state, as torch's optimizers have it."""
        for number, tensor in enumerate(self._flat.tensors):
            state[tensor] = {name: views[number] for name, views in self._views.items()}

    def load(self, saved: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take in the states of all tensors, by their numbers."""
        names = list(next(iter(saved.values()), {}))
        self.add(*names)
        for name in names:
            torch._foreach_copy_(self._views[name], [saved[number][name] for number in sorted(saved)])
