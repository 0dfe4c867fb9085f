"""Micro batches made while the step before is computed, off the critical path."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from bertjob.train.data.batch import Batch

Key = tuple[int, int, int]
"""Step, rank and world size."""


class Ahead:
    """Makes the batches of a step, and those of the next one on a thread of its own."""

    def __init__(self, make: Callable[[int, int, int], Sequence[Batch]], steps: int) -> None:
        """By `make` of step, rank and world size, a pure function; there are `steps` steps."""
        self._make = make
        self._steps = steps
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._coming: tuple[Key, Future[Sequence[Batch]]] | None = None

    def take(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        """The batches of a step."""
        key = step, rank, world_size
        ready = self._coming[1].result() if self._coming and self._coming[0] == key else self._make(*key)
        if step + 1 < self._steps:
            following = step + 1, rank, world_size
            self._coming = following, self._worker.submit(self._make, *following)
        return ready
