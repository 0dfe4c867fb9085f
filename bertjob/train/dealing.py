"""Samples dealt so that nobody gets more work than others."""

import numpy as np

from bertjob.train.ragged import Int64


def deal(samples: Int64, weights: Int64, hands: int) -> Int64:
    """Deal samples to `hands`, heaviest first, to and fro, so that the hands weigh about the same.

    Returns:
        ``[rounds, hands]``; the samples' number must be a multiple of `hands`.
    """
    rounds = samples[np.argsort(-weights, kind="stable")].reshape(-1, hands)
    rounds[1::2] = rounds[1::2, ::-1]
    return rounds
