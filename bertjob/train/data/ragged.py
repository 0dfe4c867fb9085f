"""Rows of different lengths, kept flat one after another: their places, with no loop over rows."""

import numpy as np
from numpy.typing import NDArray

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


def ragged_arange(lengths: Int64) -> Int64:
    """From 0 on n numbers for each n of `lengths`, one after another."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def ragged_places(starts: Int64, lengths: Int64) -> Int64:
    """From each start on n numbers, one after another."""
    return np.repeat(starts, lengths) + ragged_arange(lengths)


def spread(flat: Int64, lengths: Int64, width: int) -> Int64:
    """Rows of these lengths side by side in ``[rows, width]``, with 0 where there is nothing."""
    rows = np.zeros((len(lengths), width), np.int64)
    rows[np.arange(width) < lengths[:, None]] = flat
    return rows
