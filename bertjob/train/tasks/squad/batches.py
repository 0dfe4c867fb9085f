"""Which samples form which micro batch of which step, and the tensors they become.

The samples come as one endless stream, a permutation of all of them an epoch. No function but `evaluation_shares`
knows the ranks, so 1, 2 or 4 of them see the same micro batches, and the position in the data is the step alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bertjob.train.data.batch import Batch, Int64, deal, ragged_arange, ragged_places, spread
from bertjob.train.tasks.squad.features import Features

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


def packed(features: Features, samples: Int64) -> Batch:
    """One row of the samples, one after another, without padding."""
    lengths, input_ids, position_ids, token_type_ids = _tokens(features, samples)
    return Batch(
        torch.from_numpy(input_ids)[None],
        torch.from_numpy(token_type_ids)[None],
        torch.from_numpy(position_ids)[None],
        tuple(lengths.tolist()),
        None,
        _targets(features, samples),
    )


def padded(features: Features, samples: Int64, length: int | None = None) -> Batch:
    """One row a sample, padded to `length`, or to the longest of them."""
    lengths, input_ids, _, token_type_ids = _tokens(features, samples)
    width = length or int(lengths.max())
    return Batch(
        torch.from_numpy(spread(input_ids, lengths, width)),
        torch.from_numpy(spread(token_type_ids, lengths, width)),
        torch.arange(width).repeat(len(samples), 1),
        tuple(lengths.tolist()),
        torch.from_numpy(spread(np.ones_like(input_ids), lengths, width)),
        _targets(features, samples),
    )


def collate(
    features: Features, samples: Int64, batching: Literal["packed", "pools", "padded"], max_seq_length: int
) -> Batch:
    """A micro batch in the form that the job's `batching` names."""
    if batching == "packed":
        return packed(features, samples)
    return padded(features, samples, max_seq_length if batching == "padded" else None)


def _tokens(features: Features, samples: Int64) -> tuple[Int64, Int64, Int64, Int64]:
    """Lengths ``[B]``, and ids, positions and segments of all tokens ``[T]``."""
    starts = features.offsets[samples]
    lengths = features.offsets[samples + 1] - starts
    input_ids = features.input_ids[ragged_places(starts, lengths)].astype(np.int64)
    position_ids = ragged_arange(lengths)
    context_begins = np.repeat(features.query_length[samples] + 2, lengths)
    return lengths, input_ids, position_ids, (position_ids >= context_begins).astype(np.int64)


def _targets(features: Features, samples: Int64) -> dict[str, torch.Tensor]:
    def positions(of: NDArray[np.int32]) -> torch.Tensor:
        return torch.from_numpy(of[samples].astype(np.int64))

    return {"start_positions": positions(features.start), "end_positions": positions(features.end)}
