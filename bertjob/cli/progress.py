"""How far long work is: bars on a terminal, lines or nothing anywhere else.

What a start says before it trains is held back: a job that is refused then is one line, and the caller says it.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

from bertjob.cli.streams import behind
from bertjob.errors import BertjobError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.messages import AnsweringProgress, PreparationProgress
from bertjob.rundir.state import Phase, RunState, read_state
from bertjob.text import counted, visible_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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
    with _bars("steps", "details") as bars:
        bar = bars.add_task("starting", total=1, details="")

        def write(text: str) -> None:
            for line in text.splitlines():
                if not line.startswith(("step ", "bertjob ")):  # the bar says what these say
                    bars.console.print(line, markup=False)

        def show(text: str) -> None:
            output.take(text)
            if output.state is not None:
                state = output.state
                bars.update(
                    bar,
                    description=_WORDS.get(state.phase, state.phase),
                    completed=state.step,
                    total=state.total_steps or 1,
                    details=details(state),
                )

        output = _Output(run_dir, write)
        try:
            with output.released_at_the_end():
                yield Shown(show, lambda line: bars.console.print(line, markup=False))
        except BertjobError:
            bars.update(bar, visible=False)
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
    with _bars("bytes", "ETA", "details") as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: PreparationProgress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.phase, total=step.total, details="")
            kept = f", {step.kept} kept" if step.kept else ""
            shards = f"{counted(step.shards, 'shard')}{kept}" if step.shards else ""
            bars.update(tasks[step.phase], completed=step.done, total=step.total, details=shards)

        yield show


@contextmanager
def showing_answers() -> Iterator[Callable[[AnsweringProgress], None]]:
    """Give a function that moves a bar on a terminal: a book for a context takes minutes. The bar goes at the end."""
    if not sys.stderr.isatty():
        yield lambda progress: None
        return
    with _bars("pieces", "ETA", transient=True) as bars:
        task = bars.add_task("loading the model", total=None)

        def show(progress: AnsweringProgress) -> None:
            bars.update(task, description="reading", completed=progress.read, total=progress.pieces)

        yield show


@contextmanager
def showing_queue(run_dir: RunDir, job_id: str) -> Iterator[Callable[[], None]]:
    """Give a function that says on a terminal, in one line, how far a job is that somebody waits for."""
    from bertjob.cli.output import prose

    begin = time.monotonic()
    with prose().status(f"job {job_id} waits in the queue") as status:
        yield lambda: status.update(f"job {job_id} {_stage(run_dir)}, {time.monotonic() - begin:.0f} s")


@contextmanager
def showing_cancellation(grace: float) -> "Iterator[tuple[Callable[[str], None], Callable[[], None]]]":
    """Give a function for notices, and one that says on a terminal, in one line, how long it takes.

    Args:
        grace: seconds until runs are ended without a checkpoint.
    """
    if not sys.stderr.isatty():
        yield (lambda line: print(line, file=sys.stderr, flush=True)), (lambda: None)
        return
    from bertjob.cli.output import prose

    end = time.monotonic() + grace
    with prose().status("stops") as status:
        yield (
            lambda line: prose().print(line, markup=False),
            lambda: status.update(f"stops, with {max(0.0, end - time.monotonic()):.0f} s for its checkpoint"),
        )


def _stage(run_dir: RunDir) -> str:
    state = read_state(run_dir.state)
    if state is not None:
        return f"{state.phase}, {state.world_size} ranks"
    started = (run_dir.logs / "start.nodes").exists()
    return "starts the program on every node" if started else "waits in the queue"


def show_download(file: str, done: int, total: int) -> None:
    """Write over one line on a terminal; it stays when the file is complete."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        line = f"{visible_line(file)} {done / 1e6:.1f} of {total / 1e6:.1f} MB"
        print(f"\r{line}", end=end, file=behind(sys.stderr), flush=True)


@contextmanager
def _bars(
    *columns: Literal["steps", "pieces", "bytes", "ETA", "details"], transient: bool = False
) -> "Iterator[Progress]":
    """Bars on stderr, each behind its description.

    Args:
        columns: what follows the bar; a task says its own `details`.
        transient: the bars are removed at the end.
    """
    from rich import progress

    from bertjob.cli.output import prose

    known: Mapping[str, tuple[progress.ProgressColumn, ...]] = {
        "steps": (progress.TextColumn("step {task.completed:.0f}/{task.total:.0f}"),),
        "pieces": (progress.MofNCompleteColumn(),),
        "bytes": (progress.DownloadColumn(), progress.TransferSpeedColumn()),
        "ETA": (progress.TextColumn("ETA"), progress.TimeRemainingColumn()),
        "details": (progress.TextColumn("{task.fields[details]}", style="dim"),),
    }
    shown = (column for name in columns for column in known[name])
    described = (progress.TextColumn("{task.description}"), progress.BarColumn())
    with progress.Progress(*described, *shown, console=prose(), transient=transient) as bars:
        yield bars
