"""Samples of pre-training before masking: flat, one after another, ``[CLS] piece [SEP] piece [SEP] …``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from bertjob.train.corpus.reader import Corpus
from bertjob.train.data.batch import Int32, Int64, ragged_arange, ragged_places


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


@dataclass(frozen=True, slots=True)
class Marks:
    """The ids of [CLS] and [SEP]."""

    cls: int
    sep: int


class Pieces(NamedTuple):
    """P pieces of text, those of a sample one after another.

    Attributes:
        shard: int64 ``[P]``, number of the shard.
        start: int64 ``[P]``, first token in it.
        length: int64 ``[P]``, tokens.
    """

    shard: Int64
    start: Int64
    length: Int64


def sample_lengths(length: Int64, pieces: Int64) -> Int64:
    """Tokens of samples ``[B]``, from those of their pieces ``[P]`` and the number of each sample's pieces ``[B]``."""
    return 1 + np.diff(bounds(length + 1)[bounds(pieces)])


def assemble(corpus: Corpus, marks: Marks, parts: Pieces, pieces: Int64) -> tuple[Int32, Int64]:
    """The tokens of samples and where each begins.

    Args:
        corpus: where the text is.
        marks: what stands before and between.
        parts: P pieces.
        pieces: int64 ``[B]``, how many each sample has.

    Returns:
        int32 ``[T]``, and int64 ``[B + 1]``.

    Raises:
        DataError: the text has a token that is not of the vocabulary.
    """
    offsets = bounds(sample_lengths(parts.length, pieces))
    owner = np.repeat(np.arange(len(pieces)), pieces)
    places = bounds(parts.length + 1)[:-1] + owner + 1
    ids = np.full(offsets[-1], marks.sep, np.int32)
    ids[offsets[:-1]] = marks.cls
    for _, shard, rows in corpus.of_shards(parts.shard):
        there, here, length = places[rows], parts.start[rows], parts.length[rows]
        ids[ragged_places(there, length)] = corpus.known(shard.tokens[ragged_places(here, length)], shard)
    return ids, offsets
