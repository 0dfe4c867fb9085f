"""A micro batch: what the model reads, and what it should have said."""

from collections.abc import Mapping
from dataclasses import dataclass

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

    input_ids: Tensor
    token_type_ids: Tensor
    position_ids: Tensor
    seqlens: tuple[int, ...]
    attention_mask: Tensor | None
    targets: Mapping[str, Tensor]

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.seqlens)

    @property
    def packed(self) -> bool:
        """Whether this is one row without padding."""
        return self.attention_mask is None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`; copies from pinned memory do not wait."""
        if device.type == "cpu":
            return self

        def move(tensor: Tensor) -> Tensor:
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
