"""Samples dealt so that nobody gets more work than others."""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from bertjob.train.data.ragged import Int64

_AT_ONCE: Final = 2048
"""Samples dealt together. So many make blocks of the same weight within a percent; a whole batch of 65,536 would take
each of a thousand ranks 0.2 s a step to look at."""


def deal(samples: Int64, weights: Int64, hands: int) -> Int64:
    """Deal samples to `hands`, heaviest first, to and fro, so that the hands weigh about the same.

    Returns:
        ``[rounds, hands]``; the samples' number must be a multiple of `hands`.
    """
    rounds = samples[np.argsort(-weights, kind="stable")].reshape(-1, hands)
    rounds[1::2] = rounds[1::2, ::-1]
    return rounds


def hands_of(batch: range, size: int, wanted: Int64, weigh: Callable[[Int64], Int64]) -> Iterator[Int64]:
    """Some of the hands of a large batch, which is dealt block by block, so that nobody weighs all of it.

    Args:
        batch: the samples, a multiple of `size`.
        size: samples of a hand.
        wanted: numbers of hands, rising.
        weigh: the weights of samples; asked only about blocks that have wanted hands.

    Returns:
        One hand after another, ``[size]``; the same whatever else is wanted.
    """
    in_block = max(1, _AT_ONCE // size)
    for block in np.unique(wanted // in_block).tolist():
        samples = np.array(batch[block * in_block * size : (block + 1) * in_block * size])
        hands = deal(samples, weigh(samples), len(samples) // size).T
        yield from hands[wanted[wanted // in_block == block] - block * in_block]
