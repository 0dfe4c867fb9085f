"""A running training on a terminal: a bar made from its heartbeat; anywhere else: its own lines."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bertjob.spec.layout import RunDir
from bertjob.spec.state import RunState, read_state


@contextmanager
def showing(run_dir: RunDir) -> Iterator[Callable[[str], None]]:
    """Give a function that is called with the job's output as it comes, and often enough to move a bar."""
    if not sys.stderr.isatty():
        yield _copy
        return
    from rich.progress import BarColumn, Progress, TextColumn

    from bertjob.cli.console import prose

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.fields[details]}", style="dim"),
    )
    before = read_state(run_dir.state)
    with Progress(*columns, console=prose) as progress:
        bar = progress.add_task("starting", total=1, details="")

        def show(text: str) -> None:
            for line in text.splitlines():
                if not line.startswith(("step ", "bertjob ")):  # the bar says what these say
                    progress.console.print(line, markup=False)
            state = read_state(run_dir.state)
            if state is not None and state != before:
                progress.update(
                    bar,
                    description=state.phase,
                    completed=state.step,
                    total=state.total_steps or 1,
                    details=details(state),
                )

        yield show


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


def _copy(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
