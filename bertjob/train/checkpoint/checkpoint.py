"""Checkpoints: a folder that is complete or absent; when one is due, and what happens when it cannot be written.

step-000400/
    model/           the weights in Hugging Face layout, float32, with the tokenizer
    backend/         what the back end needs to take the next step: optimizer, loss scaler, weights as it keeps them
    rank-00000.pt    states of one rank's random number generators
    progress.json    how far the training is, and what must not change
    MANIFEST.json    every file with its size and SHA-256

It is written aside, flushed to the disk, and renamed. A killed run leaves a `.partial` behind, which the next start
removes. Each start writes aside under a name of its own: ranks of the one before it may still be alive.
"""

import io
import logging
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from torch import Tensor

from bertjob.config.job import Checkpoint
from bertjob.errors import CheckpointError, LeaseError
from bertjob.formats import checksums
from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir, checkpoint_step
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.world import World
from bertjob.text import first_line, reason
from bertjob.train.backends import Backend
from bertjob.train.checkpoint.export import write_model, write_together
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.rng import restore_rng_states, rng_states
from bertjob.train.tasks import Task

_MODEL, _BACKEND, _PROGRESS = "model", "backend", "progress.json"
_RANK = re.compile(r"(?:rank|optimizer)[-_](\d+)")
_LOG = logging.getLogger(__name__)


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is; its position in the data is the step alone."""

    step: int
    """Optimizer steps done."""
    samples: int
    """Samples seen."""
    seed: int
    global_batch: int
    total_steps: int
    world_size: int
    """Ranks that wrote it; a back end may insist on as many."""
    versions: Mapping[str, str]
    """Packages that wrote it."""


@dataclass(frozen=True, slots=True)
class TrainState:
    """What a checkpoint holds: all that the next step depends on, beside the random number generators."""

    progress: Progress
    backend: Backend
    task: Task


def save(held: HeldRun, state: TrainState, ranks: Ranks) -> None:
    """Write the checkpoint of this step; called by all ranks.

    Raises:
        CheckpointError: on all ranks, when one could not write; nothing is left of it and the older ones stay.
        LeaseError: on rank 0, another start has taken over.
    """
    final = held.there.checkpoint(state.progress.step)
    aside = ranks.from_first(lambda: f".{final.name}.{secrets.token_hex(4)}{atomic.PARTIAL}", str)
    partial = final.with_name(aside)
    try:
        write_together(ranks, lambda: _make(partial, held.check) if ranks.first else None)
        write_together(ranks, lambda: state.backend.save(partial / _BACKEND))
        weights = state.backend.weights()
        write_together(ranks, lambda: _write(partial, state, weights, ranks.world))
        # Each file is flushed by who wrote it: another node has nothing of it to flush, and a thousand ranks have many.
        write_together(ranks, lambda: atomic.flush_all(partial, lambda name: writer(name) == ranks.world.rank))
        write_together(ranks, lambda: _complete(partial, final, held.there.latest, held.check) if ranks.first else None)
    except (CheckpointError, LeaseError) as error:
        if ranks.first:
            shutil.rmtree(partial, ignore_errors=True)
        raise type(error)(held.words(str(error))) from None


def load(folder: Path, expected: Progress, backend: Backend, ranks: Ranks) -> Progress:
    """Read a whole checkpoint back, on all ranks.

    Args:
        folder: the checkpoint.
        expected: what a checkpoint of this job says; step, samples and versions may differ.
        backend: takes the state.
        ranks: all ranks.

    Raises:
        CheckpointError: it belongs to another seed, batch or length of training, or does not fit the back end.
    """
    try:
        progress = msgspec.json.decode((folder / _PROGRESS).read_bytes(), type=Progress)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{folder / _PROGRESS} cannot be read: {error}") from None
    for key in ("seed", "global_batch", "total_steps"):
        was, now = getattr(progress, key), getattr(expected, key)
        if was != now:
            raise CheckpointError(f"{folder} was made with {key} {was}, the job now says {now}: start a new run")
    backend.load(folder / _BACKEND)
    own = _rng_file(folder, ranks.world)
    if own.exists():  # a rank that was not there before has none; dropout is seeded by the step anyway
        _restore(own)
    return progress


def _restore(file: Path) -> None:
    try:
        restore_rng_states(torch.load(file, weights_only=True))
    except Exception as error:  # torch's reader raises whatever broke
        raise CheckpointError(f"{file} cannot be read: {first_line(error)}") from error


def newest_whole(run_dir: RunDir) -> tuple[int | None, list[str]]:
    """The step of the newest checkpoint that is whole, and what is wrong with those after it."""
    damages: list[str] = []
    for step in sorted(_steps(run_dir), reverse=True):
        damage = checksums.folder_damage(run_dir.checkpoint(step))
        if not damage:
            return step, damages
        damages.append(f"checkpoint {run_dir.checkpoint(step).name} is not whole: {damage}")
    return None, damages


def remove_leftovers(run_dir: RunDir) -> None:
    """Remove what killed runs were still writing or removing."""
    atomic.remove_leftovers(run_dir.checkpoints)


def remove_old(held: HeldRun, newest: int, rule: Checkpoint) -> None:
    """Remove the checkpoints that `kept` leaves out.

    Raises:
        LeaseError: another start has taken over, and may be reading one of them.
        OSError: one cannot be removed.
    """
    steps = set(_steps(held.there))
    for step in steps - kept(steps, newest, rule):
        held.check()
        _remove(held.there.checkpoint(step))


def kept(steps: Iterable[int], newest: int, rule: Checkpoint) -> set[int]:
    """Which checkpoints stay: up to step `newest`, the newest `rule.keep`, and each `rule.keep_every`-th step's.

    Later ones are not of this course: they were damaged, and the training went on from one before them.
    """
    course = sorted(step for step in steps if step <= newest)
    milestones = [step for step in course if is_milestone(step, rule)]
    return {*course[-rule.keep :], *milestones}


def writer(name: str) -> int:
    """The rank that writes a file of a checkpoint, or makes a folder; DeepSpeed's names have ranks in them too."""
    found = _RANK.search(name)
    return int(found[1]) if found else 0


def is_milestone(step: int, rule: Checkpoint) -> bool:
    """Whether the checkpoint of step `step` is one that stays for good."""
    return rule.keep_every is not None and step % rule.keep_every == 0


def _make(partial: Path, check: atomic.Check) -> None:
    check()
    partial.parent.mkdir(exist_ok=True)
    partial.mkdir()
    (partial / _BACKEND).mkdir()


def _write(partial: Path, state: TrainState, weights: Mapping[str, Tensor] | None, world: World) -> None:
    buffer = io.BytesIO()  # torch's own writer turns an OSError into a RuntimeError
    torch.save(rng_states(), buffer)
    _rng_file(partial, world).write_bytes(buffer.getbuffer())
    if world.rank == 0:
        assert weights is not None
        write_model(partial / _MODEL, state.task.model, weights, state.task.save_tokenizer)
        (partial / _PROGRESS).write_bytes(atomic.json_bytes(state.progress))


def _complete(partial: Path, final: Path, latest: Path, check: atomic.Check) -> None:
    checksums.write_manifest(partial)
    atomic.flush(partial / checksums.MANIFEST)
    atomic.flush(partial)
    with atomic.replacing(latest, durable=True) as pointer:
        pointer.write_text(f"{final.name}\n")
        atomic.flush(pointer)  # on the disk before the checkpoint counts: a full one must not leave it without pointer
        check()
        if final.exists():  # damaged, else the training would have gone on from it
            _remove(final)
        partial.rename(final)


def _remove(folder: Path) -> None:
    """Remove a checkpoint, so that a half removed one is not taken for one."""
    with atomic.beside(folder) as aside:
        folder.rename(aside)


def _rng_file(folder: Path, world: World) -> Path:
    return folder / f"rank-{world.rank:05d}.pt"


def _steps(run_dir: RunDir) -> Iterator[int]:
    for path in run_dir.checkpoints.glob("step-*"):
        step = checkpoint_step(path.name)
        if step is not None:
            yield step


class Saver:
    """Writes the checkpoints of one start of a run; all ranks call `save` together."""

    def __init__(self, held: HeldRun, rule: Checkpoint, ranks: Ranks, start: int) -> None:
        """Save in a run directory by `rule`, from step `start` on, of which there is a checkpoint unless it is 0."""
        self._held = held
        self._rule = rule
        self._ranks = ranks
        self._start = self._newest = start
        self._last_try = time.monotonic()
        self._trouble = ""

    @property
    def outcome(self) -> str:
        """What came of the last checkpoint of this start, e.g. ``step-000400 is whole``, or why it is not there."""
        return self._trouble or f"{self._held.run_dir.checkpoint(self._newest).name} is whole"

    def due(self, step: int) -> bool:
        """Whether a checkpoint is due after `step` steps; by the clock of rank 0, so the ranks must agree on it."""
        every = self._rule.every_steps
        by_step = (every is not None and step % every == 0) or is_milestone(step, self._rule)
        minutes = (time.monotonic() - self._last_try) / 60
        by_time = self._ranks.first and self._rule.every_minutes is not None and minutes >= self._rule.every_minutes
        return by_step or by_time

    def save(self, state: TrainState, warn: Callable[[str], object]) -> None:
        """Write a checkpoint and remove old ones; on failure `warn` with one line, and the training goes on."""
        step = state.progress.step
        began = time.monotonic()
        try:
            save(self._held, state, self._ranks)
        except CheckpointError as error:
            self._trouble = f"the checkpoint of step {step} could not be written: {error}"
            warn(f"{self._trouble}; {self._what_stays()}")
        else:
            self._newest, self._trouble = step, ""
            warn(self._remove_old(step))
            if self._ranks.first:
                _LOG.info("checkpoint %s (%.1f s)", self._held.run_dir.checkpoint(step).name, time.monotonic() - began)
        self._last_try = time.monotonic()

    def _remove_old(self, step: int) -> str:
        """Remove checkpoints that need not be kept; what went wrong, on one line. The newest one is whole anyway."""
        if self._ranks.first:
            try:
                remove_old(self._held, step, self._rule)
            except OSError as error:
                path = self._held.words(str(error.filename))
                return f"an old checkpoint cannot be removed: {path}: {reason(error)}"
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
