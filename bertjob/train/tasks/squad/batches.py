"""Which samples form which micro batch of which step: pure functions of the seed, the step and the sizes.

The samples come as one endless stream, a permutation of all of them an epoch. No function but `evaluation_shares`
knows the ranks, so 1, 2 or 4 of them see the same micro batches, and the position in the data is the step alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertjob.train.data.dealing import deal
from bertjob.train.data.ragged import Int64

POOL_STEPS: Final = 50
"""Steps whose samples are sorted by length together, in batching `pools`."""
_EPOCH: Final = 0
_POOL: Final = 1


@dataclass(frozen=True)
class Order:
    """The order of a training.

    Attributes:
        lengths: tokens of each sample, ``[F]``.
        seed: of all permutations.
        global_batch: samples a step.
        micro_batch: samples a micro batch; divides global_batch.
        steps: of the whole training.
        batching: `packed` and `padded` take a step's samples from the stream and deal them so that micro batches have
            equal token totals; `pools` sorts the samples of 50 steps by length, so that those of a step are alike.
    """

    lengths: Int64
    seed: int
    global_batch: int
    micro_batch: int
    steps: int
    batching: Literal["packed", "pools", "padded"]

    def micro_batches(self, step: int) -> Int64:
        """The samples of step `step` (from 0): ``[global_batch / micro_batch, micro_batch]``."""
        assert 0 <= step < self.steps, f"step {step} of {self.steps}"
        if self.batching == "pools":
            return self._from_pool(step).reshape(-1, self.micro_batch)
        samples = stream(self.seed, len(self.lengths), step * self.global_batch, self.global_batch)
        return deal(samples, self.lengths[samples], self.global_batch // self.micro_batch).T

    def _from_pool(self, step: int) -> Int64:
        pool, within = divmod(step, POOL_STEPS)
        steps = min(POOL_STEPS, self.steps - pool * POOL_STEPS)
        first = pool * POOL_STEPS * self.global_batch
        samples = stream(self.seed, len(self.lengths), first, steps * self.global_batch)
        alike = samples[np.argsort(self.lengths[samples], kind="stable")].reshape(steps, self.global_batch)
        chosen: Int64 = alike[_generator(self.seed, _POOL, pool).permutation(steps)[within]]
        return chosen


def stream(seed: int, samples: int, first: int, count: int) -> Int64:
    """`count` samples from position `first` of the stream, which is permutation 0, permutation 1 and so on."""
    epochs = range(first // samples, (first + count - 1) // samples + 1)
    permutations = np.concatenate([_permutation(seed, samples, epoch) for epoch in epochs])
    start = first - epochs.start * samples
    return permutations[start : start + count]


class Share(NamedTuple):
    """Samples that one rank evaluates in one forward pass; `counts` is false where another rank has them too."""

    samples: Int64
    counts: bool


def evaluation_shares(
    lengths: Int64, question: NDArray[np.integer], rank: int, world_size: int, micro_batch: int
) -> list[Share]:
    """What `rank` evaluates: whole questions, longest samples first, in as many passes as every other rank.

    Args:
        lengths: tokens of each sample, ``[F]``.
        question: index of each sample's question, ``[F]``.
        rank: this rank.
        world_size: number of ranks.
        micro_batch: samples a pass at most.
    """
    weights = np.bincount(question, weights=lengths).astype(np.int64)
    spare = -len(weights) % world_size
    hands = deal(np.arange(len(weights) + spare), np.pad(weights, (0, spare)), world_size)
    owner = np.empty(len(weights) + spare, np.int64)
    owner[hands] = np.arange(world_size)
    rank_of = owner[question]
    passes = -(-int(np.bincount(rank_of, minlength=world_size).max()) // micro_batch)

    own = np.flatnonzero(rank_of == rank)
    own = own[np.argsort(-lengths[own], kind="stable")]
    shares = [Share(own[first : first + micro_batch], True) for first in range(0, len(own), micro_batch)]
    shortest = np.argsort(lengths, kind="stable")[:1]
    return shares + [Share(shortest, False)] * (passes - len(shares))


@lru_cache(maxsize=4)
def _permutation(seed: int, samples: int, epoch: int) -> Int64:
    permutation = _generator(seed, _EPOCH, epoch).permutation(samples)
    permutation.flags.writeable = False
    return permutation


def _generator(seed: int, purpose: int, number: int) -> np.random.Generator:
    return np.random.default_rng((seed, purpose, number))
