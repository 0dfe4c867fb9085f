"""Progress on a terminal, as bars; anywhere else as lines.

What a start says before it trains is held back: a job that is refused then is one line, and the caller says it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from bertjob.cluster.training import PreparationProgress
from bertjob.errors import BertjobError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import Phase, RunState, read_state
from bertjob.text import counted

_PREPARING: frozenset[Phase] = frozenset({"starting", "features", "failed"})
_WORDS: Mapping[str, str] = {"checkpointed": "stopped"}
"""Phases that a person would call otherwise."""


class Shown(NamedTuple):
    """Where a run's words go: its output as it comes, and what is said of it meanwhile."""

    on_text: Callable[[str], None]
    on_notice: Callable[[str], None]


@contextmanager
def showing(run_dir: RunDir) -> Iterator[Shown]:
    """Give functions that are called with the job's output, often enough to move a bar, and with notices."""
    if sys.stderr.isatty():
        with _bar(run_dir) as shown:
            yield shown
    else:
        output = _Output(run_dir, sys.stderr.write)
        with output.released_at_the_end():
            yield Shown(output.take, lambda line: print(line, file=sys.stderr))


@contextmanager
def _bar(run_dir: RunDir) -> Iterator[Shown]:
    from rich.progress import BarColumn, Progress, TextColumn

    from bertjob.cli.output import prose

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[details]}", style="dim"),
    )
    with Progress(*columns, console=prose()) as progress:
        bar = progress.add_task("starting", total=1, details="")

        def write(text: str) -> None:
            for line in text.splitlines():
                if not line.startswith(("step ", "bertjob ")):  # the bar says what these say
                    progress.console.print(line, markup=False)

        def show(text: str) -> None:
            output.take(text)
            if output.state is not None:
                state = output.state
                progress.update(
                    bar,
                    description=_WORDS.get(state.phase, state.phase),
                    completed=state.step,
                    total=state.total_steps or 1,
                    details=details(state),
                )

        output = _Output(run_dir, write)
        try:
            with output.released_at_the_end():
                yield Shown(show, lambda line: progress.console.print(line, markup=False))
        except BertjobError:
            progress.update(bar, visible=False)
            raise


class _Output:
    """The output of one start: held back until it trains, and for good where the job is refused before that."""

    def __init__(self, run_dir: RunDir, write: Callable[[str], object]) -> None:
        self._path = run_dir.state
        self._before = read_state(self._path)
        self._write = write
        self._held = ""
        self._begun = False
        self.state: RunState | None = None

    def take(self, text: str) -> None:
        """Write the text, or hold it back; and look at the heartbeat."""
        state = read_state(self._path)
        self.state = state if state != self._before else None
        self._begun = self._begun or (self.state is not None and self.state.phase not in _PREPARING)
        self._held += text
        if self._begun:
            self._release()

    @contextmanager
    def released_at_the_end(self) -> Iterator[None]:
        """Inside, output is taken; a BertjobError says all that is to say."""
        yield
        self._release()

    def _release(self) -> None:
        if self._held:
            self._write(self._held)
        self._held = ""


def details(state: RunState) -> str:
    """Loss, samples/s and remaining time, as far as they are known."""
    said = []
    if state.loss is not None:
        said.append(f"loss {state.loss:.3f}")
    if state.samples_per_second is not None:
        said.append(f"{state.samples_per_second:.1f} samples/s")
    if state.eta_seconds is not None and state.phase == "training":
        minutes, seconds = divmod(round(state.eta_seconds), 60)
        said.append(f"ETA {minutes}:{seconds:02}")
    return "  ".join(said)


@contextmanager
def showing_preparation() -> Iterator[Callable[[PreparationProgress], None]]:
    """Give a function that is called with each step forward."""
    if not sys.stderr.isatty():
        shown: dict[str, int] = {}

        def say(step: PreparationProgress) -> None:
            tenth = 10 * step.done // max(step.total, 1)
            if tenth > shown.get(step.phase, 0):
                shown[step.phase] = tenth
                print(f"{step.phase}: {10 * tenth} % of {step.total / 1e6:.1f} MB", file=sys.stderr, flush=True)

        yield say
        return
    from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    from bertjob.cli.output import prose

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[shards]}", style="dim"),
    )
    with Bars(*columns, console=prose()) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: PreparationProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.phase, total=step.total, shards="")
            kept = f", {step.kept} kept" if step.kept else ""
            shards = f"{counted(step.shards, 'shard')}{kept}" if step.shards else ""
            bars.update(tasks[step.phase], completed=step.done, total=step.total, shards=shards)

        yield show
