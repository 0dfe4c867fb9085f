"""Samples of pre-training before they are masked: flat, one after another, without padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bertjob.train.data.ragged import Int32, Int64, ragged_arange, ragged_places


@dataclass(frozen=True, slots=True)
class Samples:
    """B samples of T tokens together.

    Attributes:
        input_ids: int32 ``[T]``, with [CLS] and [SEP].
        offsets: int64 ``[B + 1]``, where each sample begins in input_ids, and T.
        second: int64 ``[B]``, where in the sample the second segment begins; its length where there is none.
        random_next: int64 ``[B]``, 1 where the second segment is from elsewhere, 0 where it follows the first, -1 where
            the sample is no pair.
    """

    input_ids: Int32
    offsets: Int64
    second: Int64
    random_next: Int64

    def __len__(self) -> int:
        return len(self.second)

    @property
    def lengths(self) -> Int64:
        """Tokens of each sample, ``[B]``."""
        return np.diff(self.offsets)

    @property
    def position_ids(self) -> Int64:
        """Positions of all tokens within their samples, ``[T]``."""
        return ragged_arange(self.lengths)

    @property
    def token_type_ids(self) -> Int64:
        """Segments of all tokens, 0 or 1, ``[T]``."""
        return (self.position_ids >= np.repeat(self.second, self.lengths)).astype(np.int64)

    def take(self, rows: Int64) -> "Samples":
        """Some of them, in the order of `rows`."""
        lengths = self.lengths[rows]
        return Samples(
            self.input_ids[ragged_places(self.offsets[rows], lengths)],
            bounds(lengths),
            self.second[rows],
            self.random_next[rows],
        )


class SampleSource(Protocol):
    """An endless stream of samples; position p of it is the same whoever asks, and in whatever order."""

    def lengths(self, positions: Int64) -> Int64:
        """Tokens of the samples at these positions of the stream."""

    def samples(self, positions: Int64) -> Samples:
        """The samples at these positions of the stream."""


def bounds(lengths: Int64) -> Int64:
    """Where rows of these lengths begin, and the sum."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def joined(parts: Sequence[Samples]) -> Samples:
    """Samples one after another."""
    return Samples(
        np.concatenate([part.input_ids for part in parts]),
        bounds(np.concatenate([part.lengths for part in parts])),
        np.concatenate([part.second for part in parts]),
        np.concatenate([part.random_next for part in parts]),
    )
