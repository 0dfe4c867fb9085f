"""From samples to the tensors of a micro batch, with no loop over samples or tokens."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bertjob.train.data.batch import Batch
from bertjob.train.data.ragged import Int64, ragged_arange, ragged_places, spread
from bertjob.train.tasks.squad.features import Features


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
