"""What all ranks must agree on: settings at the start, weights at any time, the norm of the mean gradient.

The norm comes from a sketch: every value is given a random sign and added to one of `WIDTH` sums. Sums of the mean are
the mean of the ranks' sums, and the expectation of their squares is the squared norm: cross terms have random signs.
The standard deviation is sqrt(2 / WIDTH) of it, 3 % of the square and 1.6 % of the norm. Source: Alon, Matias and
Szegedy, "The space complexity of approximating the frequency moments", 1996, as the count sketch of Charikar, Chen and
Farach-Colton, 2002.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bertjob.errors import WorldError
from bertjob.train.optim.onebit.routes import Transport

WIDTH = 2048
"""Sums: 8 kB a step."""
_ROWS = 512
"""Values of one sum that have signs of their own; each next as many have the same ones, times one sign."""
_AT_ONCE = 1 << 20
"""Numbers that are summed up together, in 16 MB: more would need several times the memory of the weights."""


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


def check_settings(settings: Mapping[str, Any], transport: Transport, device: torch.device) -> None:
    """Compare the settings of all ranks; called by all.

    Raises:
        WorldError: on all ranks, when one has other settings than rank 0; says which.
    """
    found = [json.loads(text) for text in _gather(json.dumps(settings).encode(), transport, device)]
    for rank, theirs in enumerate(found):
        in_both = found[0].keys() & theirs.keys()
        for name in sorted(found[0] | theirs, key=in_both.__contains__):  # first what comes of more groups of tensors
            value, wanted = (each.get(name, "none") for each in (theirs, found[0]))
            if value != wanted:
                raise WorldError(
                    f"rank {rank} has {name} {value}, rank 0 has {wanted}: "
                    "all ranks of a 1-bit optimizer need the same settings"
                )


def of_groups(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What is to be compared of an optimizer's groups of tensors: their settings, and a digest of the shapes."""
    settings = {
        f"{name} of group {number}": value.item() if isinstance(value, Tensor) else value
        for number, group in enumerate(groups)
        for name, value in group.items()
        if name != "params"
    }
    shapes = [[list(tensor.shape) for tensor in group["params"]] for group in groups]
    return settings | {"shapes": hashlib.sha256(repr(shapes).encode()).hexdigest()[:8]}


def check_weights(weights: Sequence[Tensor], transport: Transport, step: int) -> None:
    """Compare the weights of all ranks, bit by bit; called by all.

    Raises:
        WorldError: on all ranks, when one has other weights than rank 0.
    """
    own = torch.stack([digest(tensor) for tensor in weights])
    found = own.new_empty(transport.size, *own.shape)
    transport.all_gather(own, found).wait()
    differs = (found != found[0]).any(-1)
    for rank, tensors in enumerate(differs.tolist()):
        if any(tensors):
            raise WorldError(
                f"after step {step} rank {rank} has other weights than rank 0 in {sum(tensors)} of {len(tensors)} "
                "tensors: their weights must be the same, bit by bit"
            )


def digest(tensor: Tensor) -> Tensor:
    """Two sums over a tensor's bits as whole numbers, modulo 2^64, one of them weighted by position: int64 ``[2]``."""
    kind = {1: torch.uint8, 2: torch.int16}.get(tensor.element_size(), torch.int32)
    found = torch.zeros(2, dtype=torch.int64, device=tensor.device)
    values = tensor.detach().contiguous().view(-1).view(kind)
    for start in range(0, len(values), _AT_ONCE):
        part = values[start : start + _AT_ONCE].long()
        found[0] += part.sum()
        found[1] += part.mul_(torch.arange(start + 1, start + len(part) + 1, device=part.device)).sum()
    return found


def mean(value: Tensor, transport: Transport) -> Tensor:
    """The mean of a scalar over the ranks, the same on all of them to the bit."""
    found = value.new_empty(transport.size)
    transport.all_gather(value.reshape(1), found.view(-1, 1)).wait()
    return found.mean()


def average(values: Tensor, transport: Transport) -> Tensor:
    """The mean of flat values over the ranks, in full precision, the same on all of them to the bit; a new tensor."""
    parts = -(-len(values) // transport.size)
    own = torch.cat([values, values.new_zeros(parts * transport.size - len(values))]).view(transport.size, parts)
    found, means = torch.empty_like(own), torch.empty_like(own)
    transport.all_to_all(own, found).wait()
    transport.all_gather(found.mean(0), means).wait()
    return means.view(-1)[: len(values)]


def _gather(own: bytes, transport: Transport, device: torch.device) -> list[bytes]:
    """Every rank's bytes."""
    lengths = torch.empty(transport.size, 1, dtype=torch.int64, device=device)
    transport.all_gather(torch.tensor([len(own)], device=device), lengths).wait()
    longest = int(lengths.max())
    box = torch.frombuffer(bytearray(own.ljust(longest)), dtype=torch.uint8).to(device)
    boxes = torch.empty(transport.size, longest, dtype=torch.uint8, device=device)
    transport.all_gather(box, boxes).wait()
    return [bytes(row.tolist()) for row in boxes]
