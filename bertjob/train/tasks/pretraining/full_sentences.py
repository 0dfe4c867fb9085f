"""Samples of full sentences without pairs, as many as fit, over the ends of documents, where a [SEP] stands.

These are the FULL-SENTENCES of RoBERTa (Liu et al., arXiv 1907.11692). The samples recur each epoch in another order
and with other masks.
"""

from typing import Final

import numpy as np

from bertjob.errors import SpecError
from bertjob.train.corpus.reader import Corpus
from bertjob.train.corpus.shards import Shard
from bertjob.train.data.batch import Int64, ragged_arange
from bertjob.train.tasks.pretraining.keyed_random import keys, whole
from bertjob.train.tasks.pretraining.samples import Marks, Pieces, Samples, assemble, sample_lengths
from bertjob.train.tasks.pretraining.stream import Epochs

_MARKS: Final = 2
_WINDOW: Final = 0


class FullSentences:
    """An endless stream of samples from a corpus; see samples.SampleSource."""

    def __init__(self, corpus: Corpus, marks: Marks, max_seq_length: int, seed: int) -> None:
        """Of all documents of `corpus`, in samples of `max_seq_length` tokens at most.

        Raises:
            SpecError: the samples are too short.
        """
        if max_seq_length < _MARKS + 1:
            raise SpecError(f"a sample of {max_seq_length} tokens has no room for text")
        self._corpus, self._marks, self._seed = corpus, marks, seed
        self._most = max_seq_length - _MARKS
        self._epochs = Epochs(self._plan, 1, seed)

    def lengths(self, positions: Int64) -> Int64:
        """Tokens of the samples at these positions of the stream, ``[B]``."""
        pieces, counts = self._pieces(positions)
        return sample_lengths(pieces.length, counts)

    def samples(self, positions: Int64) -> Samples:
        """The samples at these positions of the stream."""
        pieces, counts = self._pieces(positions)
        ids, offsets = assemble(self._corpus, self._marks, pieces, counts)
        return Samples(ids, offsets, np.diff(offsets), np.full(len(positions), -1))

    def _plan(self, _number: int) -> Int64:
        """First sentence of each sample, and that behind its last, ``[N, 2]``."""
        bases = self._corpus.sentence_base.tolist()
        return np.concatenate(
            [base + _filled(shard, self._most) for shard, base in zip(self._corpus.shards, bases, strict=False)]
        )

    def _pieces(self, positions: Int64) -> tuple[Pieces, Int64]:
        """Where the text of the samples is: a piece for each document."""
        _, rows = self._epochs.rows(positions)
        first, end = rows.T
        base = self._corpus.sentence_base
        number, document, last = (np.zeros(len(first), np.int64) for _ in range(3))
        for shard_number, shard, at in self._corpus.of_sentences(first):
            number[at] = shard_number
            document[at] = shard.documents_of(first[at] - base[shard_number])
            last[at] = shard.documents_of(end[at] - 1 - base[shard_number])
        counts = last - document + 1
        owner = np.repeat(np.arange(len(first)), counts)
        piece = document[owner] + ragged_arange(counts)
        start, length = np.zeros(len(owner), np.int64), np.zeros(len(owner), np.int64)
        for _, shard, at in self._corpus.of_shards(number[owner]):
            begins = np.maximum(shard.documents[piece[at]], (first - base[number])[owner[at]])
            ends = np.minimum(shard.documents[piece[at] + 1], (end - base[number])[owner[at]])
            start[at] = shard.sentences[begins]
            length[at] = shard.sentences[ends] - start[at]
        # Only a sentence that is alone in its sample can be too long.
        lost = np.maximum(length - self._most, 0)
        start += whole(keys(self._seed, positions[owner]), _WINDOW, lost + 1)
        return Pieces(number[owner], start, length - lost), counts


def _filled(shard: Shard, most: int) -> Int64:
    """First sentence and end of the samples of a shard, each as full as sentences make it, ``[N, 2]``."""
    sentences = np.arange(shard.size.sentences)
    document = shard.documents_of(sentences)
    begins = shard.sentences[:-1].astype(np.int64) + document
    ends = shard.sentences[1:].astype(np.int64) + document
    following = np.maximum(np.searchsorted(ends, begins + most, side="right"), sentences + 1).tolist()
    found, first = [], 0
    while first < len(following):
        found.append((first, following[first]))
        first = following[first]
    return np.array(found, np.int64)
