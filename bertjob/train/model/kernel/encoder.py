"""An encoder of kernel layers, in the place and under the names of transformers' own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

from bertjob.errors import SpecError

MULTIPLE = 16
"""The kernel takes rows of a multiple of so many tokens."""
_MASKED = -10000.0
"""Added to the scores of padding: the kernel's own number, which fp16 holds."""


class KernelEncoder(nn.Module):
    """Takes what transformers hands to its encoder, and calls layers that are like DeepSpeedTransformerLayer.

    Weights may be wider than `dtype`, as under autocast: each call casts them, and gradients come back as wide.
    """

    def __init__(self, layers: Sequence[nn.Module], dtype: torch.dtype) -> None:
        """Of these layers, which compute in `dtype`."""
        super().__init__()
        self.layer = nn.ModuleList(layers)
        self._dtype = dtype

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **others: Any) -> Output:
        """All layers.

        Args:
            hidden_states: ``[B, L, h]``.
            attention_mask: bool ``[B, 1, L, L]``, True where a token may look, the same for all that look; or None,
                where there is no padding.
            others: what transformers hands to any encoder.

        Raises:
            SpecError: the batch is a packed row.
        """
        if others.get("segments") is not None:
            raise SpecError("model.kernel takes samples in rows of their own: say train.batching padded or pools")
        batch, length = hidden_states.shape[:2]
        padding = -length % MULTIPLE
        seen = hidden_states.new_ones(batch, 1, 1, length, dtype=torch.bool)
        if attention_mask is not None:
            seen = attention_mask[:, :, :1, :]
        # As zeros, once for all layers: the kernel itself would fill each layer's row up with random numbers.
        mask = torch.zeros(batch, 1, 1, length + padding, dtype=self._dtype, device=hidden_states.device)
        mask.masked_fill_(~functional.pad(seen, (0, padding)), _MASKED)
        rows = functional.pad(hidden_states.to(self._dtype), (0, 0, 0, padding))
        for layer in self.layer:
            rows = self._call(layer, rows, mask)
        return Output(last_hidden_state=rows[:, :length])

    def _call(self, layer: nn.Module, rows: Tensor, mask: Tensor) -> Tensor:
        weights = dict(layer.named_parameters())
        if all(weight.dtype == self._dtype for weight in weights.values()):
            called: Tensor = layer(rows, mask)  # also under ZeRO 3, which brings the weights when it is called
            return called
        narrow = {name: weight.to(self._dtype) for name, weight in weights.items()}
        found: Tensor = torch.func.functional_call(layer, narrow, (rows, mask))
        return found
