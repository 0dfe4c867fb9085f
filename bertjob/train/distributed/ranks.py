"""All ranks as one: what they agree on, over gloo on the CPU, so that no question makes a GPU wait.

Every method is a collective: all ranks call it, in the same order. With one rank nothing is sent.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from bertjob.rundir.world import World

T = TypeVar("T")


class Ranks:
    """The ranks of a run, seen from one of them."""

    def __init__(self, world: World, group: dist.ProcessGroup) -> None:
        """Speak over `group`, a gloo group of all ranks."""
        self.world = world
        self._group = group

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the files that a run has once."""
        return self.world.rank == 0

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on at least one rank."""
        if self.world.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._group)
        return tuple(bool(vote) for vote in votes)

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Each number added up over the ranks, in float64."""
        if self.world.size == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums, group=self._group)
        return tuple(sums.tolist())

    def from_first(self, choose: Callable[[], T]) -> T:
        """What `choose` returns on rank 0, the only one that calls it."""
        if self.world.size == 1:
            return choose()
        box: list[T | None] = [choose() if self.first else None]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]  # type: ignore[return-value]  # rank 0's choice, whatever T is

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in their order, on all ranks."""
        if self.world.size == 1:
            return [value]
        values: list[T] = [value] * self.world.size
        dist.all_gather_object(values, value, group=self._group)
        return values

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        if self.world.size > 1:
            dist.barrier(group=self._group)
