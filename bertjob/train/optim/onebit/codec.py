"""One bit per value: signs packed eight to a byte and back, tensor by tensor, on devices without Triton.

A set bit is a minus; the first value has the highest bit. They work on slices that stay in a core's cache.
"""

import functools
import importlib.util
from collections.abc import Sequence

import torch
from torch import Tensor

from bertjob.train.optim.onebit.layout import BYTE, Layout

_GATHER = 0x8040201008040201 - (1 << 64)
"""Times eight bytes of 0 or 1, as an integer of 64 bits, it gathers them in the highest byte, the first one on top."""
_SLICE = 1 << 13
"""Bytes of signs to handle at once: 64 Ki values."""


def pack(values: Tensor) -> Tensor:
    """The signs of `values`: uint8 ``[n / 8]`` for ``[n]``, n a multiple of 8."""
    parts = [_pack(part) for part in torch.split(values, 8 * _SLICE)]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def compress(values: Tensor, scale: Tensor) -> Tensor:
    """Pack the signs of `values`, and leave in `values` what they do not say: ``values - scale * sign(values)``.

    Args:
        values: ``[n]``, n a multiple of 8; replaced by the error.
        scale: a scalar, not negative.
    """
    parts = []
    for part in torch.split(values, 8 * _SLICE):
        parts.append(_pack(part))
        part.sub_(torch.copysign(scale, part))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def unpack(bits: Tensor, scales: Tensor, out: Tensor) -> None:
    """Write ``scale * sign``, each row by its scale.

    Args:
        bits: uint8 ``[rows, n / 8]``.
        scales: ``[rows]``.
        out: ``[rows, n]``.
    """
    width = _width(bits)
    for packed, part in zip(torch.split(bits, width, 1), torch.split(out, 8 * width, 1), strict=True):
        torch.mul(_signs(packed, out.dtype), scales[:, None], out=part)


def add_up(bits: Tensor, scales: Tensor, out: Tensor) -> None:
    """Add the sum over the rows of ``scale * sign``.

    Args:
        bits: uint8 ``[rows, n / 8]``.
        scales: ``[rows]``.
        out: ``[n]``.
    """
    width = _width(bits)
    for packed, part in zip(torch.split(bits, width, 1), torch.split(out, 8 * width), strict=True):
        part.addmv_(_signs(packed, out.dtype).t(), scales)


def _pack(values: Tensor) -> Tensor:
    # signbit, not < 0: it is what copysign goes by, for -0.0 too.
    return (torch.signbit(values).view(torch.int64) * _GATHER >> 56).to(torch.uint8)


def _signs(bits: Tensor, dtype: torch.dtype) -> Tensor:
    rows, width = bits.shape
    return _table(bits.device, dtype).index_select(0, bits.flatten().int()).view(rows, 8 * width)


def _width(bits: Tensor) -> int:
    return max(1, _SLICE // bits.shape[0])


@functools.cache
def _table(device: torch.device, dtype: torch.dtype) -> Tensor:
    """The eight signs of each byte: ``[256, 8]``."""
    byte, place = torch.arange(256)[:, None], torch.arange(7, -1, -1)
    return (1 - 2 * (byte >> place & 1)).to(device, dtype)


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
                rows[row, place] = compress(values[span], scale).view(-1, place.stop - place.start)

    def add_up(self, rows: Tensor, scales: Tensor, share: Tensor) -> None:
        """Add all ranks' values to a rank's share.

        Args:
            rows: uint8 ``[ranks, row]``, the row of this rank from each rank.
            scales: ``[ranks, segments]``.
            share: ``[8 row]``.
        """
        for place, weights in zip(self._layout.shares, scales.t().contiguous(), strict=True):
            end = place.offset + place.size
            add_up(rows[:, place.offset : end], weights, share[BYTE * place.offset : BYTE * end])

    def compress(self, share: Tensor, scales: Tensor, row: Tensor) -> None:
        """Compress a rank's share into a row; the error stays in `share`.

        Args:
            share: ``[8 row]``.
            scales: of the part of each segment.
            row: uint8 ``[row]``.
        """
        for place, scale in zip(self._layout.shares, scales.unbind(), strict=True):
            end = place.offset + place.size
            row[place.offset : end] = compress(share[BYTE * place.offset : BYTE * end], scale)

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
                unpack(rows[row, place], factors[row], out)


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
