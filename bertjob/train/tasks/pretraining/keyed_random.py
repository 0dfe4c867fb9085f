"""Random numbers that are functions of names: the same for any order, any world size, and after any interruption.

The bits are those of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a counter, well mixed. Names are whole numbers,
such as seed, epoch and sample, that are mixed in one after another.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bertjob.train.data.batch import Int64

Keys = NDArray[np.uint64]

_GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)


def keys(*names: int | Int64 | Keys) -> Keys:
    """Keys that `names`, numbers or arrays of one shape, name together; another order of names is another key."""
    key = np.zeros(1, np.uint64)
    for name in names:
        key = _mixed(key + np.atleast_1d(np.asarray(name)).astype(np.uint64) * _GAMMA + _GAMMA)
    return key


def uniform(key: Keys, purpose: int) -> NDArray[np.float64]:
    """A number in [0, 1) for each key and purpose, with 53 random bits."""
    return (keys(key, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def whole(key: Keys, purpose: int, below: int | Int64) -> Int64:
    """A whole number from 0 to `below` - 1 for each key and purpose."""
    return np.floor(uniform(key, purpose) * below).astype(np.int64)


def _mixed(state: Keys) -> Keys:
    state = (state ^ (state >> np.uint64(30))) * _FIRST
    state = (state ^ (state >> np.uint64(27))) * _SECOND
    return state ^ (state >> np.uint64(31))
