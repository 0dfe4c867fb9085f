"""What the steps did: measured without making a GPU wait, added up over the ranks when a line is due."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bertjob.errors import BertjobError
from bertjob.train.backends import StepOutcome
from bertjob.train.data.batch import Batch
from bertjob.train.distributed.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Reading:
    """What the meter says after a step.

    Attributes:
        loss: mean loss of this one step, over its micro batches on all ranks.
        samples_per_second: of all ranks, over the steps since the last reading; training time only.
        tokens_per_second: likewise.
        seconds_per_step: likewise.
    """

    loss: float
    samples_per_second: float
    tokens_per_second: float
    seconds_per_step: float


class Meter:
    """Measures the steps of one rank."""

    def __init__(self, ranks: Ranks, device: torch.device, global_batch: int, micro_batch: int, start: int) -> None:
        """Measure from step `start` on.

        Args:
            ranks: all ranks.
            device: where the losses are.
            global_batch: samples of a step.
            micro_batch: samples of a micro batch.
            start: steps done before.
        """
        self._ranks = ranks
        self._global_batch = global_batch
        self._micro_batches = global_batch // micro_batch
        self._zero = torch.zeros((), dtype=torch.float64, device=device)
        self._loss = self._bad = self._bad_before = self._zero
        self._checked = self._read = start
        self._tokens = 0
        self._seconds = 0.0

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Around all that a step does; the time between two steps does not count."""
        self._loss, self._bad_before = self._zero, self._bad
        began = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - began

    def add(self, loss: Tensor, batch: Batch) -> None:
        """Count a micro batch of this step; `loss` is its mean loss."""
        loss = loss.detach()
        self._loss = self._loss + loss
        self._bad = self._bad + ~torch.isfinite(loss)
        self._tokens += sum(batch.seqlens)

    def stepped(self, outcome: StepOutcome) -> None:
        """Count how the step ended: a skipped one (fp16) did no harm, one with an infinite gradient did."""
        if outcome.skipped:
            self._bad = self._bad_before
        elif outcome.grad_norm is not None and not math.isfinite(outcome.grad_norm):
            self._bad = self._bad + 1

    def check(self, step: int) -> None:
        """Stop a training that has gone wrong; called by all ranks after `step` steps.

        Raises:
            BertjobError: a loss or gradient since the last check was not finite.
        """
        (own_bad,) = self._measured(self._bad)
        self._judge(step, *self._ranks.sum(own_bad))

    def read(self, step: int) -> Reading:
        """Read and start anew; called by all ranks after `step` steps.

        Raises:
            BertjobError: as `check`.
        """
        own_loss, own_bad = self._measured(self._loss, self._bad)
        loss, bad, tokens = self._ranks.sum(own_loss, own_bad, self._tokens)
        self._judge(step, bad)
        steps, seconds = step - self._read, self._seconds
        self._read, self._tokens, self._seconds = step, 0, 0.0
        return Reading(
            loss / self._micro_batches, steps * self._global_batch / seconds, tokens / seconds, seconds / steps
        )

    def _measured(self, *numbers: Tensor) -> list[float]:
        """The values of some scalars; here a GPU has to catch up, which is training time."""
        began = time.perf_counter()
        values: list[float] = torch.stack(numbers).tolist()
        self._seconds += time.perf_counter() - began
        return values

    def _judge(self, step: int, bad: float) -> None:
        first, self._checked = self._checked + 1, step
        if bad or math.isnan(bad):
            when = f"at step {step}" if first == step else f"in steps {first} to {step}"
            raise BertjobError(
                f"the loss or its gradient became infinite or not a number {when}: try a lower optimizer.lr, "
                "a longer warm-up or another precision"
            )
