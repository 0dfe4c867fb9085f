"""The two ways to take a step: plain torch, or DeepSpeed's engine, behind one small protocol."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What an optimizer step did.

    Attributes:
        grad_norm: global gradient norm before clipping, or None where the back end does not tell.
        skipped: True when fp16 gradients overflowed: nothing was changed on any rank, the loss scale went down.
        loss_scale: the fp16 loss scale after the step; None in fp32 and bf16.
    """

    grad_norm: float | None
    skipped: bool
    loss_scale: float | None


class Backend(Protocol):
    """Takes a task's losses and turns them into steps. All methods are called by all ranks at the same time."""

    @property
    def model(self) -> nn.Module:
        """The model to call, on its device, wrapped for the back end; the forward pass runs in the job's precision."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add one micro batch's gradients; `last` marks the step's last micro batch, when ranks exchange them.

        `loss` is the micro batch's mean loss; dividing by the accumulation is done here.
        """

    def step(self, lr: float) -> StepOutcome:
        """Clip, update the weights with learning rate `lr`, and clear the gradients."""

    def gauges(self) -> Mapping[str, float]:
        """What the optimizer tells of its newest step, for metrics.jsonl; called at logged steps only."""

    def save(self, folder: Path) -> None:
        """Write this rank's part of the optimizer's (and loss scaler's) state below `folder`, which exists."""

    def load(self, folder: Path) -> None:
        """Read back what `save` wrote, weights included: the next step is bitwise the one that would have followed.

        Raises:
            CheckpointError: the files do not fit this job or this world size; says why.
        """

    def common_weights(self) -> AbstractContextManager[None]:
        """Within, all ranks have the same weights: those to evaluate. Between them some optimizers let ranks differ."""

    def weights(self) -> dict[str, Tensor] | None:
        """The whole model's state dict, float32, on the CPU, on rank 0 (gathered under ZeRO 3); None on other ranks."""
