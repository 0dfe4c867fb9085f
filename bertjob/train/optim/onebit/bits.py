"""One bit a value: signs packed eight to a byte, and back. Pure functions, for any device.

A set bit is a minus; the first value has the highest bit. They work on slices that stay in a core's cache.
"""

import functools

import torch
from torch import Tensor

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
