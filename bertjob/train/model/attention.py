"""Attention over packed rows: every sample attends to itself alone, and no layer sees padding.

Registered with transformers as ``bertjob``, so that its own BERT takes it: a model built with this attention computes
a packed row where it is called with ``segments=…``, and stock SDPA with an attention mask where it is not.

Three ways to compute the same numbers, by device and dtype:

    GPUs from capability 8.0 on, fp16 and bf16    torch's FlashAttention over variable lengths
    other GPUs (V100, P100), float32 on any GPU   padding inside the attention alone, then SDPA with a mask
    CPUs                                          sample by sample
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "bertjob"
"""What transformers calls this attention: ``attn_implementation=NAME``."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the B samples of a packed row of T tokens lie.

    Attributes:
        lengths: tokens of each sample.
        longest: the greatest of them, L.
        bounds: int32 ``[B + 1]``, first token of each sample, and T.
        slots: int64 ``[T]``, each token's place in the flattened ``[B, L]``.
    """

    lengths: tuple[int, ...]
    longest: int
    bounds: Tensor
    slots: Tensor

    @classmethod
    def of(cls, lengths: tuple[int, ...], positions: Tensor) -> "Segments":
        """From the samples' lengths and the tokens' positions within their samples, int64 ``[T]``."""
        longest, total = max(lengths), sum(lengths)
        counts = torch.tensor(lengths, device=positions.device)
        bounds = functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
        rows = torch.arange(len(lengths), device=positions.device)
        slots = torch.repeat_interleave(rows * longest, counts, output_size=total) + positions
        return cls(lengths, longest, bounds, slots)

    def spread(self, packed: Tensor, fill: float = 0.0) -> Tensor:
        """From packed ``[T, …]`` to padded ``[B, L, …]``, with `fill` where there is no token."""
        rows, rest = len(self.lengths), packed.shape[1:]
        padded = packed.new_full((rows * self.longest, *rest), fill).index_copy(0, self.slots, packed)
        return padded.view(rows, self.longest, *rest)

    def gather(self, padded: Tensor) -> Tensor:
        """From padded ``[B, L, …]`` back to packed ``[T, …]``."""
        return padded.flatten(0, 1).index_select(0, self.slots)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    segments: Segments | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it.

    Args:
        module: the layer that asks.
        query: ``[1, H, T, d]`` for a packed row.
        key: the same shape.
        value: the same shape.
        attention_mask: None for a packed row.
        dropout: probability on the attention weights, 0 in evaluation.
        scaling: factor of the scores, by default 1 / √d.
        segments: the packed row's samples; None for a padded batch, which stock SDPA takes.
        others: what transformers hands to any attention.

    Returns:
        ``[1, T, H, d]``, and None for the attention weights.
    """
    if segments is None:
        padded: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return padded
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    way = _way(query.device, query.dtype, query.size(-1))
    return way(query, key, value, segments, dropout, scale), None


def by_sample(query: Tensor, key: Tensor, value: Tensor, segments: Segments, dropout: float, scale: float) -> Tensor:
    """Sample by sample; in and out as `attention`.

    With dropout, SDPA on CPUs has no kernel but a slow composition; plain operations take three quarters of its time.
    """

    def one(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if dropout == 0.0:
            return functional.scaled_dot_product_attention(query, key, value, scale=scale)
        weights = torch.softmax((query * scale) @ key.transpose(-1, -2), dim=-1)
        return functional.dropout(weights, dropout) @ value

    samples = (torch.split(tensor, list(segments.lengths), dim=2) for tensor in (query, key, value))
    return torch.cat([one(*sample) for sample in zip(*samples, strict=True)], dim=2).transpose(1, 2)


def by_flash(query: Tensor, key: Tensor, value: Tensor, segments: Segments, dropout: float, scale: float) -> Tensor:
    """FlashAttention over variable lengths (Dao, arXiv 2307.08691), fp16 or bf16; in and out as `attention`.

    This is the operator behind torch.nn.attention.varlen, which itself leaves no way to ask for dropout.
    """
    query, key, value = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    bounds, longest = segments.bounds, segments.longest
    output: Tensor = torch.ops.aten._flash_attention_forward.default(
        query, key, value, bounds, bounds, longest, longest, dropout, False, False, scale=scale
    )[0]
    return output[None]


def by_padding(query: Tensor, key: Tensor, value: Tensor, segments: Segments, dropout: float, scale: float) -> Tensor:
    """Padding inside the attention alone; in and out as `attention`."""

    def padded(tensor: Tensor) -> Tensor:
        return segments.spread(tensor[0].transpose(0, 1)).transpose(1, 2)

    tokens = segments.spread(torch.ones_like(segments.slots)).bool()
    output = functional.scaled_dot_product_attention(
        padded(query),
        padded(key),
        padded(value),
        attn_mask=tokens[:, None, None, :],
        dropout_p=dropout,
        scale=scale,
    )
    return segments.gather(output.transpose(1, 2))[None]


@cache
def _way(
    device: torch.device, dtype: torch.dtype, head: int
) -> Callable[[Tensor, Tensor, Tensor, Segments, float, float], Tensor]:
    """The fastest of the three for heads of this size and dtype on this device."""
    if device.type == "cpu":
        return by_sample
    fits_flash = dtype in (torch.float16, torch.bfloat16) and head % 8 == 0 and head <= 256
    return by_flash if fits_flash and torch.cuda.get_device_capability(device) >= (8, 0) else by_padding


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
