"""An optimizer's state in flat buffers: one tensor after another, in the order of its groups, each with a name."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from bertjob.train.optim.onebit.layout import fill


class FlatTensors:
    """An optimizer's tensors, and how flat buffers are divided among them.

    Attributes:
        tensors: of all groups, but for those without elements.
        buckets: parts of the buffers that are exchanged one after another.
    """

    def __init__(self, groups: list[dict[str, Any]], multiple: int) -> None:
        """Over the tensors of `groups`; the length of each bucket is a multiple of 8 times `multiple`."""
        numbered = [
            (index, tensor) for index, group in enumerate(groups) for tensor in group["params"] if tensor.numel()
        ]
        self.tensors: list[Tensor] = [tensor for _, tensor in numbered]
        self._group_of = [index for index, _ in numbered]
        self.buckets = fill([tensor.numel() for tensor in self.tensors], multiple)
        double = any(tensor.dtype == torch.float64 for tensor in self.tensors)
        self._dtype = torch.float64 if double else torch.float32

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.tensors[0].device

    def zeros(self) -> Tensor:
        """A buffer, in float32 (float64 where a tensor is)."""
        return torch.zeros(self.buckets[-1].span.stop, dtype=self._dtype, device=self.device)

    def views(self, buffer: Tensor) -> list[Tensor]:
        """A buffer's part of each tensor, in its shape."""
        return [
            buffer[bucket.span][segment.start : segment.start + segment.size].view(self.tensors[number].shape)
            for bucket in self.buckets
            for number, segment in zip(bucket.tensors, bucket.segments, strict=True)
        ]

    def some(self, numbers: Iterable[int]) -> list[Tensor]:
        """The tensors of these numbers."""
        return [self.tensors[number] for number in numbers]

    def gradients(self, numbers: Iterable[int]) -> Iterator[tuple[int, Tensor]]:
        """Those of these tensors that have one, with their numbers; in the buffers' precision."""
        for number in numbers:
            gradient = self.tensors[number].grad
            if gradient is not None:
                yield number, gradient.to(self._dtype)

    def by_group(self, numbers: Iterable[int]) -> Iterator[tuple[int, list[int]]]:
        """These tensors' numbers, group by group, each with the group's."""
        for index, members in groupby(numbers, key=self._group_of.__getitem__):
            yield index, list(members)


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
