"""From flat buffers of values to rows of bits and back, tensor by tensor: what a device without Triton does."""

import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor

from bertjob.train.optim.onebit import bits
from bertjob.train.optim.onebit.layout import BYTE, Layout


class Codec:
    """Translates between the values of a layout's segments and the rows that ranks send."""

    def __init__(self, layout: Layout) -> None:
        """For buffers and rows of this layout."""
        self._layout = layout
        self._parts = [list(layout.parts(number)) for number in range(len(layout.segments))]

    def deal(self, values: Tensor, scales: Tensor, rows: Tensor) -> None:
        """Compress the values of all segments into `rows`; the error stays in `values`.

        Args:
            values: ``[n]``, flat.
            scales: of each segment.
            rows: uint8 ``[ranks, row]``.
        """
        for parts, scale in zip(self._parts, scales.unbind(), strict=True):
            for row, place, span in parts:
                rows[row, place] = bits.compress(values[span], scale).view(-1, place.stop - place.start)

    def add_up(self, rows: Tensor, scales: Tensor, share: Tensor) -> None:
        """Add all ranks' values to a rank's share.

        Args:
            rows: uint8 ``[ranks, row]``, the row of this rank from each rank.
            scales: ``[ranks, segments]``.
            share: ``[8 row]``.
        """
        for place, weights in zip(self._layout.shares, scales.t().contiguous(), strict=True):
            end = place.offset + place.size
            bits.add_up(rows[:, place.offset : end], weights, share[BYTE * place.offset : BYTE * end])

    def compress(self, share: Tensor, scales: Tensor, row: Tensor) -> None:
        """Compress a rank's share into a row; the error stays in `share`.

        Args:
            share: ``[8 row]``.
            scales: of the part of each segment.
            row: uint8 ``[row]``.
        """
        for place, scale in zip(self._layout.shares, scales.unbind(), strict=True):
            end = place.offset + place.size
            row[place.offset : end] = bits.compress(share[BYTE * place.offset : BYTE * end], scale)

    def collect(self, rows: Tensor, scales: Tensor, values: Tensor) -> None:
        """Write the values of all segments.

        Args:
            rows: uint8 ``[ranks, row]``, every rank's share.
            scales: ``[ranks, segments]``.
            values: ``[n]``, flat; replaced.
        """
        for parts, factors in zip(self._parts, scales.t().contiguous(), strict=True):
            for row, place, span in parts:
                out = values[span].view(-1, BYTE * (place.stop - place.start))
                bits.unpack(rows[row, place], factors[row], out)


def share_of(values: Tensor, layout: Layout, rank: int) -> Tensor:
    """What of flat `values` is in the share of `rank`: ``[8 row]``, zero where the share is empty."""
    share = values.new_zeros(BYTE * layout.row)
    for segment, place in zip(layout.segments, layout.shares, strict=True):
        start = segment.start + rank * BYTE * place.size
        part = values[min(start, segment.end) : min(start + BYTE * place.size, segment.end)]
        share[BYTE * place.offset :][: len(part)] = part
    return share


def norms(values: Tensor, spans: Sequence[slice]) -> Tensor:
    """The Euclidean norm of each span: ``[spans]``."""
    return torch.stack(torch._foreach_norm([values[span] for span in spans]))


def codec_for(layout: Layout, device: torch.device) -> Codec:
    """The fastest there is for this device."""
    if device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from bertjob.train.optim.onebit.codec_triton import TritonCodec  # only torch for GPUs brings Triton

        return TritonCodec(layout, device)
    return Codec(layout)
