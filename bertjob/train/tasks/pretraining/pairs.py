"""Pairs for the prediction of the next sentence (Devlin et al., arXiv 1810.04805, and its create_pretraining_data).

A pair is sentences of a document up to the target length, cut between two of them at random; half of the time the
second segment is replaced by sentences from another document, and what it replaced begins the next pair. One pair in
ten has a shorter target. A pair that is too long loses tokens of its longer segment, each from a random end.

Every choice is a function of the seed, the plan's number and the pair's first sentence. So a pair is named by that
sentence: a plan is the list of them, and nothing else need be kept. Unlike the original, where a whole document is cut
to one short target, each pair draws its own: in long documents one pair in ten is short all the same.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertjob.errors import DataError, SpecError
from bertjob.train.corpus.reader import Corpus
from bertjob.train.corpus.shards import Shard
from bertjob.train.data.batch import Bool, Int64, ragged_arange
from bertjob.train.tasks.pretraining.keyed_random import Keys, keys, uniform, whole
from bertjob.train.tasks.pretraining.samples import Marks, Pieces, Samples, assemble, sample_lengths
from bertjob.train.tasks.pretraining.stream import Epochs

_MARKS: Final = 3
_SHORT, _TARGET, _CUT, _NEXT, _DOCUMENT, _SENTENCE, _ENDS_A, _ENDS_B = range(8)


@dataclass(frozen=True)
class PairSettings:
    """How pairs are made.

    Attributes:
        max_seq_length: tokens of a sample at most, with its marks.
        random_next: share of pairs whose second segment is from elsewhere; a single sentence always gets such a one.
        short: share of the pairs with a shorter target, from 2 tokens on.
        dupe_factor: how many different plans there are; they recur after as many epochs, with other masks.
    """

    max_seq_length: int = 128
    random_next: float = 0.5
    short: float = 0.1
    dupe_factor: int = 5


class NextSentencePairs:
    """An endless stream of pairs from a corpus; see samples.SampleSource."""

    def __init__(self, corpus: Corpus, marks: Marks, settings: PairSettings, seed: int) -> None:
        """Of all documents of `corpus`.

        Raises:
            DataError: it has one document only.
            SpecError: the samples are too short for a pair.
        """
        if corpus.size.documents < 2:
            raise DataError("the corpus has one document: pairs for next sentences need two at least")
        if settings.max_seq_length < _MARKS + 2:
            raise SpecError(f"a pair of {settings.max_seq_length} tokens has no room for two segments")
        self._corpus, self._marks, self._settings, self._seed = corpus, marks, settings, seed
        self._epochs = Epochs(self._plan, settings.dupe_factor, seed)

    def lengths(self, positions: Int64) -> Int64:
        """Tokens of the pairs at these positions of the stream, ``[B]``."""
        pairs = self._pairs(positions)
        return sample_lengths(pairs.pieces.length, np.full(len(positions), 2))

    def samples(self, positions: Int64) -> Samples:
        """The pairs at these positions of the stream."""
        pairs = self._pairs(positions)
        ids, offsets = assemble(self._corpus, self._marks, pairs.pieces, np.full(len(positions), 2))
        return Samples(ids, offsets, pairs.pieces.length[0::2] + 2, pairs.random.astype(np.int64))

    def _plan(self, number: int) -> Int64:
        """First sentences of all pairs of a plan, ``[N]``."""
        return np.concatenate(
            [
                base
                + _chain(_cut(shard, np.arange(shard.size.sentences), self._keys(number, base, shard), self._settings))
                for shard, base in zip(self._corpus.shards, self._corpus.sentence_base.tolist(), strict=False)
            ]
        )

    def _keys(self, number: int, base: int, shard: Shard) -> Keys:
        return keys(self._seed, number, base + np.arange(shard.size.sentences))

    def _pairs(self, positions: Int64) -> "_Pairs":
        """Where the text of the pairs is, two pieces each."""
        plans, first = self._epochs.rows(positions)
        key = keys(self._seed, plans, first)
        shard, start, length = (np.zeros((len(first), 2), np.int64) for _ in range(3))
        target, document = np.zeros(len(first), np.int64), np.zeros(len(first), np.int64)
        random = np.zeros(len(first), np.bool_)
        for number, text, rows in self._corpus.of_sentences(first):
            sentence = first[rows] - self._corpus.sentence_base[number]
            cut = _cut(text, sentence, key[rows], self._settings)
            begins = text.sentences[np.stack([sentence, cut.middle, cut.end])].astype(np.int64)
            shard[rows], start[rows], length[rows] = number, begins[:2].T, np.diff(begins, axis=0).T
            target[rows], random[rows] = cut.target, cut.random
            document[rows] = self._corpus.document_base[number] + text.documents_of(sentence)
        other = np.flatnonzero(random)
        elsewhere = whole(key[other], _DOCUMENT, self._corpus.size.documents - 1)
        elsewhere += elsewhere >= document[other]
        for number, text, rows in self._corpus.of_documents(elsewhere):
            at = other[rows]
            shard[at, 1] = number
            start[at, 1], length[at, 1] = _from_document(
                text, elsewhere[rows] - self._corpus.document_base[number], target[at] - length[at, 0], key[at]
            )
        start, length = _truncated(start, length, self._settings.max_seq_length - _MARKS, key)
        return _Pairs(Pieces(shard.ravel(), start.ravel(), length.ravel()), random)


class _Pairs(NamedTuple):
    pieces: Pieces
    random: Bool


class _Cut(NamedTuple):
    """What becomes of sentences that begin a pair.

    Attributes:
        target: tokens that the pair should have.
        middle: the sentence behind the first segment.
        end: the sentence behind the pair.
        random: whether the second segment is replaced.
    """

    target: Int64
    middle: Int64
    end: Int64
    random: Bool


def _cut(shard: Shard, sentence: Int64, key: Keys, settings: PairSettings) -> _Cut:
    most = settings.max_seq_length - _MARKS
    target = np.where(uniform(key, _SHORT) < settings.short, 2 + whole(key, _TARGET, most - 1), most)
    end = _reached(shard, sentence, target, shard.documents[shard.documents_of(sentence) + 1])
    sentences = end - sentence
    middle = sentence + 1 + whole(key, _CUT, np.maximum(sentences - 1, 1))
    return _Cut(target, middle, end, (sentences == 1) | (uniform(key, _NEXT) < settings.random_next))


def _chain(cut: _Cut) -> Int64:
    """First sentences of the pairs of a shard: each begins where the one before has ended."""
    following = np.where(cut.random, cut.middle, cut.end).tolist()
    first, found = 0, []
    while first < len(following):
        found.append(first)
        first = following[first]
    return np.array(found, np.int64)


def _reached(shard: Shard, sentence: Int64, tokens: Int64, limit: NDArray[np.integer]) -> Int64:
    """Behind how many sentences from `sentence` on there are `tokens` tokens, or the document's end `limit`."""
    wanted = shard.sentences[sentence] + np.maximum(tokens, 1).astype(np.uint32)  # of the same type: no copy of all
    return np.minimum(np.searchsorted(shard.sentences, wanted, side="left"), limit.astype(np.int64))


def _from_document(shard: Shard, document: Int64, tokens: Int64, key: Keys) -> tuple[Int64, Int64]:
    """Where the text of a random sentence and those behind it is, up to `tokens` tokens; at least one sentence."""
    begin = shard.documents[document].astype(np.int64)
    end = shard.documents[document + 1].astype(np.int64)
    sentence = begin + whole(key, _SENTENCE, end - begin)
    start = shard.sentences[sentence].astype(np.int64)
    return start, shard.sentences[_reached(shard, sentence, tokens, end)] - start


def _truncated(start: Int64, length: Int64, most: int, key: Keys) -> tuple[Int64, Int64]:
    """Pieces of pairs ``[B, 2]`` that together have `most` tokens at most.

    Taking a token at a time from the longer one, and from the second where they are equal, ends where the first has
    ``max(most - second, ⌈most / 2⌉)`` tokens or what it had.
    """
    first, second = length.T
    over = first + second > most
    kept = np.where(over, np.minimum(first, np.maximum(most - second, -(-most // 2))), first)
    left = np.stack([kept, np.where(over, most - kept, second)], axis=1)
    lost = length - left
    front = np.stack([_heads(lost[:, 0], key, _ENDS_A), _heads(lost[:, 1], key, _ENDS_B)], axis=1)
    return start + front, left


def _heads(tosses: Int64, key: Keys, purpose: int) -> Int64:
    """How many of so many tosses of a coin show heads."""
    owner = np.repeat(np.arange(len(tosses)), tosses)
    heads = uniform(keys(key[owner], ragged_arange(tosses)), purpose) < 0.5
    return np.bincount(owner[heads], minlength=len(tosses))
