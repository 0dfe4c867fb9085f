"""Stores of ready samples as endless streams; each sample is checked when it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from bertjob.errors import DataError
from bertjob.train.data.batch import Bool, Int32, Int64
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


_SHORTEST: Final = 3
"""A token between its marks."""


@dataclass(frozen=True)
class Limits:
    """What samples must keep to.

    Attributes:
        max_seq_length: tokens at most.
        vocabulary_size: V; ids are below it.
        pairs: whether they must be pairs for the next sentence.
    """

    max_seq_length: int
    vocabulary_size: int
    pairs: bool


class CheckedStore:
    """A store, checked; see Store."""

    def __init__(self, store: Store, files: Sequence[Path], limits: Limits) -> None:
        """Of the samples of `store`, which are in `files`: one for each of the store's parts, or one of all."""
        self._store, self._files, self._limits = store, files, limits
        self.parts: Int64 | None = store.parts

    def __len__(self) -> int:
        return len(self._store)

    def read(self, numbers: Int64) -> Samples:
        """Some of them, by their numbers from 0.

        Raises:
            DataError: one is not what the job can train on; says which.
        """
        samples, limits = self._store.read(numbers), self._limits
        lengths, ids = samples.lengths, samples.input_ids
        self._refuse(
            lengths > limits.max_seq_length,
            numbers,
            lengths,
            f"has {{}} tokens, and train.max_seq_length is {limits.max_seq_length}",
        )
        self._refuse(lengths < _SHORTEST, numbers, lengths, "has {} tokens: no room for text between marks")
        unknown = (ids < 0) | (ids >= limits.vocabulary_size)
        owners = np.repeat(numbers, lengths)
        self._refuse(unknown, owners, ids, f"has a token {{}}, and the vocabulary has {limits.vocabulary_size}")
        self._refuse(
            (samples.second <= 0) | (samples.second > lengths),
            numbers,
            samples.second,
            "has a second segment that begins at {}, which is not within it",
        )
        if limits.pairs:
            label = samples.random_next
            self._refuse(label < 0, numbers, label, "is no pair for the next sentence: say task mlm")
            self._refuse(label > 1, numbers, label, "says {} of the next sentence, which is neither 0 nor 1")
        return samples

    def _refuse(self, wrong: Bool, numbers: Int64, values: Int32 | Int64, why: str) -> None:
        if wrong.any():
            first = int(wrong.argmax())
            raise DataError(f"{self._place(int(numbers[first]))} {why.format(values[first])}")

    def _place(self, number: int) -> str:
        if self.parts is None:
            return f"{self._files[0]}: sample {number}"
        part = int(np.searchsorted(self.parts, number, side="right")) - 1
        return f"{self._files[part]}: sample {number - int(self.parts[part])}"
