"""A micro batch, the ragged rows it is made of, and samples balanced over micro batches by token count.

Preparing a corpus needs the rows alone, and so this module does not import torch, which takes seconds and memory.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples of one task, packed into one row or padded to one length.

    Attributes:
        input_ids: int64; packed ``[1, T]``, the samples one after another with no padding; padded ``[B, L]``.
        token_type_ids: int64, same shape: 0 for the first segment, 1 for the second.
        position_ids: int64, same shape: restarts at 0 with each sample.
        seqlens: tokens of each sample, B numbers; for a packed row they sum to T.
        attention_mask: int64 ``[B, L]``, 1 on tokens and 0 on padding; None for a packed row, which has none.
        targets: the task's own tensors, first dimension B (or the number of targets).
    """

    input_ids: "Tensor"
    token_type_ids: "Tensor"
    position_ids: "Tensor"
    seqlens: tuple[int, ...]
    attention_mask: "Tensor | None"
    targets: "Mapping[str, Tensor]"

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.seqlens)

    @property
    def packed(self) -> bool:
        """Whether this is one row without padding."""
        return self.attention_mask is None

    def to(self, device: "torch.device") -> "Batch":
        """The same batch on `device`; copies from pinned memory do not wait."""
        if device.type == "cpu":
            return self

        def move(tensor: "Tensor") -> "Tensor":
            return tensor.to(device, non_blocking=True)

        mask = None if self.attention_mask is None else move(self.attention_mask)
        return Batch(
            move(self.input_ids),
            move(self.token_type_ids),
            move(self.position_ids),
            self.seqlens,
            mask,
            {name: move(target) for name, target in self.targets.items()},
        )


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
