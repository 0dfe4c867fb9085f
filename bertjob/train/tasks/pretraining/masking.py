"""Masks of the masked language model, drawn anew each time a sample is seen, and the tensors of a micro batch.

15 % of the tokens are to be predicted; of these 80 % become [MASK], 10 % another token, and 10 % stay as they are
(Devlin et al., arXiv 1810.04805); other masks each time are RoBERTa's (Liu et al., arXiv 1907.11692). A pure function
without loops over samples or tokens.

The targets are ``mask_positions`` ``[P]``, places in the flattened input_ids, ``mask_labels`` ``[P]``, the tokens that
stood there, and, where the samples are pairs, ``next_sentence`` ``[B]``: 1 where the second segment is from elsewhere.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertjob.train.data.batch import Batch, Bool, Int32, Int64, spread
from bertjob.train.data.special_tokens import BERT, MarkNames
from bertjob.train.tasks.pretraining.keyed_random import Keys, keys, uniform, whole
from bertjob.train.tasks.pretraining.samples import Samples

Floats = NDArray[np.floating]

_SPACE = "Ġ"
"""The byte of a space, as byte-level vocabularies write it."""
_ORDER, _ROUNDING, _FATE, _TOKEN = range(4)


@dataclass(frozen=True)
class Vocabulary:
    """What masking must know of a vocabulary of V tokens.

    Attributes:
        mask: id of [MASK] or <mask>.
        special: bool ``[V]``, the marks, which are never masked and never stand in for another token.
        continues: bool ``[V]``, tokens that go on with a word: ``##…``, or, of bytes, those without a space in front.
    """

    mask: int
    special: Bool
    continues: Bool

    @classmethod
    def of(cls, tokens: dict[str, int], marks: MarkNames = BERT, *, byte_level: bool = False) -> "Vocabulary":
        """From tokens and their ids, which hold `marks`; `byte_level` as of tokenizer.BertTokenizer."""
        names = [""] * (max(tokens.values()) + 1)
        for token, number in tokens.items():
            names[number] = token
        goes_on = np.array([not name.startswith(_SPACE) if byte_level else name.startswith("##") for name in names])
        special = np.array([name in marks or not name for name in names])
        return cls(tokens[marks.mask], special, goes_on & ~special)

    @property
    def ordinary(self) -> Int64:
        """The ids that may stand in for others."""
        return np.flatnonzero(~self.special)


@dataclass(frozen=True)
class Masking:
    """How much is masked, and what becomes of it.

    Attributes:
        share: of the tokens that are no marks.
        mask_share: of these, those that become [MASK].
        random_share: of these, those that become another token; the rest stays.
        whole_words: all tokens of a word or none.
        max_predictions_per_seq: masked tokens of a sample at most; None: any number.
    """

    share: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1
    whole_words: bool = False
    max_predictions_per_seq: int | None = None


class Masked(NamedTuple):
    """Samples with masks.

    Attributes:
        input_ids: int64 ``[T]``, what the model reads.
        positions: int64 ``[P]``, places in input_ids to predict, ascending.
        labels: int64 ``[P]``, the tokens that stood there.
    """

    input_ids: Int64
    positions: Int64
    labels: Int64


def mask(samples: Samples, names: Int64, seed: int, masking: Masking, vocabulary: Vocabulary) -> Masked:
    """Choose the tokens to predict and hide them.

    The number of a sample's masked tokens is `share` times that of its tokens, rounded up or down at random so that
    the mean is exact, but at least one word where there is one of `max_predictions_per_seq` tokens at most; longer
    words are never masked. Words come in random order; the one that crosses the number counts in with the probability
    that keeps the mean.

    Args:
        samples: B samples of T tokens.
        names: int64 ``[B]``, a number a sample, such as its position in the stream: the same number, the same masks.
        seed: of all masks.
        masking: how much, and how.
        vocabulary: of the samples' tokens.
    """
    ids = samples.input_ids
    sample = np.repeat(np.arange(len(samples)), samples.lengths)
    sample_key = keys(seed, names)
    token_key = keys(sample_key[sample], samples.position_ids)

    free = np.flatnonzero(~vocabulary.special[ids])
    begins = _word_begins(ids, free, vocabulary) if masking.whole_words else np.ones(len(free), np.bool_)
    word = np.cumsum(begins) - 1
    first = free[begins]
    target = masking.share * np.bincount(sample[free], minlength=len(samples))
    chosen = _choose(
        sample[first],
        np.bincount(word, minlength=len(first)),
        uniform(token_key[first], _ORDER),
        target,
        uniform(sample_key, _ROUNDING),
        masking.max_predictions_per_seq,
    )
    positions = free[chosen[word]]
    labels = ids[positions].astype(np.int64)
    masked = ids.astype(np.int64)
    masked[positions] = _instead(labels, token_key[positions], masking, vocabulary)
    return Masked(masked, positions, labels)


def _word_begins(ids: Int32, free: Int64, vocabulary: Vocabulary) -> Bool:
    """Whether each free token begins a word: it does not go on with one, or there is none right before it."""
    return ~vocabulary.continues[ids[free]] | (np.diff(free, prepend=-2) > 1)


def _choose(sample: Int64, size: Int64, order: Floats, target: Floats, rounding: Floats, most: int | None) -> Bool:
    """Which of W words are masked.

    Args:
        sample: ``[W]``, ascending.
        size: tokens of each word, ``[W]``.
        order: random numbers below 1, ``[W]``: within a sample words are taken in their order.
        target: tokens wanted of each sample, on average, ``[B]``.
        rounding: a random number below 1 a sample, ``[B]``.
        most: tokens of a sample at most; a word with more is passed over.
    """
    turn = np.argsort(sample + order)
    if most is not None:
        turn = turn[size[turn] <= most]
    owner, sizes = sample[turn], size[turn]
    before = np.cumsum(sizes) - sizes
    words = np.bincount(owner, minlength=len(target))
    opening = np.cumsum(words) - words  # the turn of each sample's first word
    before -= np.repeat(before[np.minimum(opening, len(before) - 1)], words) if len(before) else 0
    taken = (before + rounding[owner] * sizes < target[owner]) | (before == 0)
    if most is not None:
        taken &= before + sizes <= most
    chosen = np.zeros(len(size), np.bool_)
    chosen[turn[taken]] = True
    return chosen


def _instead(labels: Int64, key: Keys, masking: Masking, vocabulary: Vocabulary) -> Int64:
    """What the model reads in place of the tokens `labels`."""
    ordinary = vocabulary.ordinary
    fate = uniform(key, _FATE)
    other = ordinary[whole(key, _TOKEN, len(ordinary))]
    kept = np.where(fate < masking.mask_share + masking.random_share, other, labels)
    return np.where(fate < masking.mask_share, vocabulary.mask, kept)


def packed(samples: Samples, masked: Masked) -> Batch:
    """One row of the samples, one after another, without padding."""
    return Batch(
        torch.from_numpy(masked.input_ids)[None],
        torch.from_numpy(samples.token_type_ids)[None],
        torch.from_numpy(samples.position_ids)[None],
        tuple(samples.lengths.tolist()),
        None,
        _targets(samples, masked, masked.positions),
    )


def padded(samples: Samples, masked: Masked, length: int | None = None) -> Batch:
    """One row a sample, padded to `length`, or to the longest of them."""
    lengths = samples.lengths
    width = length or int(lengths.max())
    row = np.searchsorted(samples.offsets, masked.positions, side="right") - 1
    return Batch(
        torch.from_numpy(spread(masked.input_ids, lengths, width)),
        torch.from_numpy(spread(samples.token_type_ids, lengths, width)),
        torch.arange(width).repeat(len(samples), 1),
        tuple(lengths.tolist()),
        torch.from_numpy(spread(np.ones_like(masked.input_ids), lengths, width)),
        _targets(samples, masked, row * width + masked.positions - samples.offsets[row]),
    )


def _targets(samples: Samples, masked: Masked, positions: Int64) -> dict[str, Tensor]:
    targets = {"mask_positions": torch.from_numpy(positions), "mask_labels": torch.from_numpy(masked.labels)}
    if (samples.random_next >= 0).all():
        targets["next_sentence"] = torch.from_numpy(samples.random_next)
    return targets
