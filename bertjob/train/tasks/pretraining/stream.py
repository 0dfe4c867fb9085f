"""An endless stream of samples, epoch after epoch, each in an order of its own."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from bertjob.train.data.batch import Int64


class Epochs:
    """The stream: position p of it is a row of the plan of some epoch.

    A plan says which samples an epoch has; it may be long to make and large, so that the last two are kept. After
    `plans` epochs the plans recur (BERT's dupe factor), in another order.
    """

    def __init__(self, plan: Callable[[int], Int64], plans: int, seed: int, parts: Int64 | None = None) -> None:
        """Of some plans.

        Args:
            plan: ``[N, …]`` by its number, N > 0.
            plans: how many there are.
            seed: of the orders.
            parts: bounds of rows that stay together, in an order of their own, because they are costly to reach;
                by default all rows are shuffled.
        """
        self._parts = parts
        self._plan = lru_cache(maxsize=2)(plan)
        self._plans = plans
        self._seed = seed
        self._ends: list[int] = []
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def rows(self, positions: Int64) -> tuple[Int64, Int64]:
        """The plans' numbers ``[B]`` and the plans' rows ``[B, …]`` at these positions of the stream."""
        while not self._ends or self._ends[-1] <= positions.max(initial=0):
            self._ends.append((self._ends or [0])[-1] + self._size(len(self._ends)))
        epochs = np.searchsorted(self._ends, positions, side="right")
        begins = np.array([0, *self._ends])[epochs]
        found = [(epoch, np.flatnonzero(epochs == epoch)) for epoch in np.unique(epochs).tolist()]
        parts = np.concatenate([self._order(epoch)[positions[at] - begins[at]] for epoch, at in found])
        back = np.argsort(np.concatenate([at for _, at in found]))
        return epochs % self._plans, parts[back]

    def _size(self, epoch: int) -> int:
        if epoch >= self._plans:
            first = self._ends[epoch % self._plans - 1] if epoch % self._plans else 0
            return self._ends[epoch % self._plans] - first
        return len(self._plan(epoch))

    def _shuffled(self, epoch: int) -> Int64:
        plan = self._plan(epoch % self._plans)
        parts = [0, len(plan)] if self._parts is None else self._parts.tolist()
        rng = np.random.default_rng((self._seed, epoch))
        order = [
            parts[part] + rng.permutation(parts[part + 1] - parts[part]) for part in rng.permutation(len(parts) - 1)
        ]
        shuffled: Int64 = plan[np.concatenate(order)]
        return shuffled
