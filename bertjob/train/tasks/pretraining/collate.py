"""From masked samples to the tensors of a micro batch.

The targets are ``mask_positions`` ``[P]``, places in the flattened input_ids, ``mask_labels`` ``[P]``, the tokens that
stood there, and, where the samples are pairs, ``next_sentence`` ``[B]``: 1 where the second segment is from elsewhere.
"""

import numpy as np
import torch
from torch import Tensor

from bertjob.train.data.batch import Batch
from bertjob.train.data.ragged import Int64, spread
from bertjob.train.tasks.pretraining.masking import Masked
from bertjob.train.tasks.pretraining.samples import Samples


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
