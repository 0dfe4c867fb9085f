"""What the loop asks of a task. A task is a small module: batches, a loss, an evaluation.

What the login side must know of a task as well is its row in `bertjob.config.registry.tasks`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from bertjob.config.job import Job
from bertjob.rundir.held_run import HeldRun
from bertjob.train.data.batch import Batch
from bertjob.train.distributed.ranks import Ranks


class Task(Protocol):
    """One kind of training, such as question answering."""

    @classmethod
    def from_job(cls, job: Job, held: HeldRun, ranks: Ranks, device: torch.device) -> "Task":
        """Read the data and build the model; called by all ranks at the same time.

        Args:
            job: as resolved.
            held: the run directory, where the files of the final evaluation go.
            ranks: all ranks.
            device: where this rank trains.

        Raises:
            SpecError: the job lacks what this task needs.
            DataError: the data or the model cannot be read.
        """

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole training."""

    @property
    def model(self) -> nn.Module:
        """The Hugging Face model with its first weights, float32, on the CPU; the same on every rank."""

    def micro_batches(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        """The `accumulation` micro batches that `rank` takes in optimizer step `step` (from 0).

        A pure function of (seed, step): which samples share a micro batch, and in which order, does not depend on the
        world size; rank r of N takes each N-th of the step's micro batches, starting at r. So the position in the data
        is the step alone, and 1, 2 or 4 ranks see the same micro batches.
        """

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean loss over the samples of one micro batch: a scalar, float32."""

    def evaluate(self, model: nn.Module, *, final: bool = True) -> Mapping[str, float]:
        """Evaluate on all ranks, gather once; the metrics on rank 0, else empty.

        The final evaluation also writes the task's files, on rank 0.
        Called by every rank at the same time; every rank does the same number of forward passes (ZeRO 3 needs it).
        """

    def save_tokenizer(self, folder: str) -> None:
        """Write the tokenizer's files beside a saved model."""
