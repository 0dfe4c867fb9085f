"""The codec on GPUs: each of its four translations is one fused Triton kernel over all tensors of a bucket.

A kernel goes over bytes. Tables say for each byte to which segment it belongs, and for each segment where its first
byte is, how many of its bytes are one rank's, and where these begin in a row.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from bertjob.train.optim.onebit.codec import Codec
from bertjob.train.optim.onebit.layout import BYTE, Layout

_BLOCK = 512
"""Bytes of signs that one program handles: 4096 values."""


class TritonCodec(Codec):
    """See Codec."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        """For buffers and rows of this layout."""
        super().__init__(layout)
        ends = [segment.end // BYTE for segment in layout.segments]
        starts = [segment.start // BYTE for segment in layout.segments]
        offsets, sizes = [share.offset for share in layout.shares], [share.size for share in layout.shares]
        own_ends = [share.offset + share.size for share in layout.shares]
        self._whole = _Table(starts, ends, sizes, offsets, device)
        self._own = _Table(offsets, own_ends, sizes, offsets, device)

    def deal(self, values: Tensor, scales: Tensor, rows: Tensor) -> None:
        """Compress the values of all segments into `rows`; the error stays in `values`."""
        self._compress(self._whole, values, scales, rows, rows.stride(0))

    def compress(self, share: Tensor, scales: Tensor, row: Tensor) -> None:
        """Compress a rank's share into a row; the error stays in `share`."""
        self._compress(self._own, share, scales, row, 0)

    def add_up(self, rows: Tensor, scales: Tensor, share: Tensor) -> None:
        """Add all ranks' values to a rank's share."""
        scales = scales.contiguous()
        _add_up[self._own.grid](
            rows, scales, share, *self._own.columns, self._own.bytes, rows.stride(0), *scales.shape, block=_BLOCK
        )

    def collect(self, rows: Tensor, scales: Tensor, values: Tensor) -> None:
        """Write the values of all segments."""
        scales = scales.contiguous()
        _expand[self._whole.grid](
            rows, scales, values, *self._whole.columns, self._whole.bytes, rows.stride(0), scales.shape[1], block=_BLOCK
        )

    def _compress(self, table: "_Table", values: Tensor, scales: Tensor, rows: Tensor, stride: int) -> None:
        _compress[table.grid](values, scales.contiguous(), rows, *table.columns, table.bytes, stride, block=_BLOCK)


class _Table:
    """Where the bytes of some segments are and go to."""

    def __init__(
        self,
        starts: Sequence[int],
        ends: Sequence[int],
        sizes: Sequence[int],
        offsets: Sequence[int],
        device: torch.device,
    ) -> None:
        self.bytes = ends[-1]
        lengths = torch.tensor([end - start for start, end in zip(starts, ends, strict=True)])
        numbers = torch.repeat_interleave(torch.arange(len(ends)), lengths)
        self.columns = [
            torch.as_tensor(column, dtype=torch.int32).to(device) for column in (numbers, starts, sizes, offsets)
        ]
        self.grid = (triton.cdiv(self.bytes, _BLOCK),)


@triton.jit
def _place(numbers, starts, sizes, offsets, byte, mask):
    """Segment, row and place in the row of some bytes."""
    number = tl.load(numbers + byte, mask=mask, other=0)
    size = tl.load(sizes + number)
    local = byte - tl.load(starts + number)
    return number, local // size, tl.load(offsets + number) + local % size


@triton.jit
def _compress(values, scales, rows, numbers, starts, sizes, offsets, count, stride, block: tl.constexpr):
    byte = tl.program_id(0) * block + tl.arange(0, block)
    mask = byte < count
    number, row, place = _place(numbers, starts, sizes, offsets, byte, mask)
    scale = tl.load(scales + number)[:, None]
    bit = tl.arange(0, 8)[None, :]
    at = values + byte[:, None] * 8 + bit
    value = tl.load(at, mask=mask[:, None], other=0.0)
    negative = value < 0
    tl.store(at, value - tl.where(negative, -scale, scale), mask=mask[:, None])
    packed = tl.sum(negative.to(tl.int32) << (7 - bit), 1)
    tl.store(rows + row.to(tl.int64) * stride + place, packed.to(tl.uint8), mask=mask)


@triton.jit
def _expand(rows, scales, values, numbers, starts, sizes, offsets, count, stride, segments, block: tl.constexpr):
    byte = tl.program_id(0) * block + tl.arange(0, block)
    mask = byte < count
    number, row, place = _place(numbers, starts, sizes, offsets, byte, mask)
    scale = tl.load(scales + row * segments + number, mask=mask, other=0.0)[:, None]
    packed = tl.load(rows + row.to(tl.int64) * stride + place, mask=mask, other=0).to(tl.int32)[:, None]
    bit = tl.arange(0, 8)[None, :]
    negative = ((packed >> (7 - bit)) & 1) == 1
    tl.store(values + byte[:, None] * 8 + bit, tl.where(negative, -scale, scale), mask=mask[:, None])


@triton.jit
def _add_up(rows, scales, share, numbers, starts, sizes, offsets, count, stride, ranks, segments, block: tl.constexpr):
    byte = tl.program_id(0) * block + tl.arange(0, block)
    mask = byte < count
    number = tl.load(numbers + byte, mask=mask, other=0)
    bit = tl.arange(0, 8)[None, :]
    at = share + byte[:, None] * 8 + bit
    total = tl.load(at, mask=mask[:, None], other=0.0)
    for rank in range(ranks):
        scale = tl.load(scales + rank * segments + number)[:, None]
        packed = tl.load(rows + tl.cast(rank, tl.int64) * stride + byte, mask=mask, other=0).to(tl.int32)[:, None]
        negative = ((packed >> (7 - bit)) & 1) == 1
        total += tl.where(negative, -scale, scale)
    tl.store(at, total, mask=mask[:, None])
