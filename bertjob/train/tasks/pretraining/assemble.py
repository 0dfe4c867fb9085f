"""From pieces of text to samples: ``[CLS] piece [SEP] piece [SEP] …``, copied once, from the mapped files."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bertjob.train.corpus.reader import Corpus
from bertjob.train.data.ragged import Int32, Int64, ragged_places
from bertjob.train.tasks.pretraining.samples import bounds


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
