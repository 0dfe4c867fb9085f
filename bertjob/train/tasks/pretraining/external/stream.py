"""A store of ready samples as an endless stream, in another order each epoch."""

from typing import Protocol

import numpy as np

from bertjob.train.data.ragged import Int64
from bertjob.train.tasks.pretraining.samples import Samples
from bertjob.train.tasks.pretraining.stream import Epochs


class Store(Protocol):
    """N samples without masks, that are read when they are asked for."""

    @property
    def parts(self) -> Int64 | None:
        """Bounds of the samples that are read together; None where any one is as near as any other."""

    def __len__(self) -> int:
        """N."""

    def read(self, numbers: Int64) -> Samples:
        """Some of them, by their numbers from 0."""


class MadeSamples:
    """An endless stream of the samples of a store; see samples.SampleSource."""

    def __init__(self, store: Store, seed: int) -> None:
        """Of all samples of `store`."""
        self._store = store
        self._epochs = Epochs(lambda _: np.arange(len(store)), 1, seed, store.parts)

    def lengths(self, positions: Int64) -> Int64:
        """Tokens of the samples at these positions of the stream, ``[B]``."""
        return self.samples(positions).lengths

    def samples(self, positions: Int64) -> Samples:
        """The samples at these positions of the stream."""
        return self._store.read(self._epochs.rows(positions)[1])
