"""When a checkpoint is due, and what it means when one cannot be written."""

import logging
import time
from collections.abc import Callable

from bertjob.config.job import Checkpoint
from bertjob.errors import CheckpointError
from bertjob.rundir.directory import RunDir
from bertjob.train.checkpoint import checkpoint
from bertjob.train.checkpoint.checkpoint import TrainState
from bertjob.train.distributed.ranks import Ranks

_LOG = logging.getLogger(__name__)


class Saver:
    """Writes the checkpoints of one start of a run; all ranks call `save` together."""

    def __init__(self, run_dir: RunDir, rule: Checkpoint, ranks: Ranks, start: int) -> None:
        """Save below `run_dir` by `rule`, from step `start` on, of which there is a checkpoint unless it is 0."""
        self._run_dir = run_dir
        self._rule = rule
        self._ranks = ranks
        self._start = self._newest = start
        self._last_try = time.monotonic()
        self._trouble = ""

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after `step` steps; by the clock of rank 0, so the ranks must agree on it."""
        every = self._rule.every_steps
        by_step = (every is not None and step % every == 0) or checkpoint.is_milestone(step, self._rule)
        minutes = (time.monotonic() - self._last_try) / 60
        by_time = self._ranks.first and self._rule.every_minutes is not None and minutes >= self._rule.every_minutes
        return by_step or by_time

    def save(self, state: TrainState, warn: Callable[[str], object]) -> None:
        """Write a checkpoint and remove old ones; on failure `warn` with one line, and the training goes on."""
        step = state.progress.step
        began = time.monotonic()
        try:
            checkpoint.save(self._run_dir, state, self._ranks)
        except CheckpointError as error:
            self._trouble = f"the checkpoint of step {step} could not be written: {error}"
            warn(f"{self._trouble}; {self._what_stays()}")
        else:
            self._newest, self._trouble = step, ""
            warn(self._remove_old(step))
            if self._ranks.first:
                _LOG.info("checkpoint %s (%.1f s)", self._run_dir.checkpoint(step).name, time.monotonic() - began)
        self._last_try = time.monotonic()

    def _remove_old(self, step: int) -> str:
        """Remove checkpoints that need not be kept; what went wrong, on one line. The newest one is whole anyway."""
        if self._ranks.first:
            try:
                checkpoint.remove_old(self._run_dir, step, self._rule)
            except OSError as error:
                return f"an old checkpoint cannot be removed: {error.filename}: {error.strerror or error}"
        return ""

    def require_progress(self) -> None:
        """Before the run is put off: it must not be started again and again for nothing.

        Raises:
            CheckpointError: this start has saved no step.
        """
        if self._trouble and self._newest == self._start:
            raise CheckpointError(f"{self._trouble}; {self._what_stays()}. Make room and start again")

    def _what_stays(self) -> str:
        return f"the one of step {self._newest} stays" if self._newest else "there is none before it"
