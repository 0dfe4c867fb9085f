"""A preparation of a corpus on a terminal: a bar with the time left; anywhere else: a line every tenth."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bertjob.cluster.training import Progress


@contextmanager
def showing() -> Iterator[Callable[[Progress], None]]:
    """Give a function that is called with each step forward."""
    if not sys.stderr.isatty():
        shown: dict[str, int] = {}

        def say(step: Progress) -> None:
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
    with Bars(*columns, console=prose) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: Progress) -> None:
            if step.phase not in tasks:
                tasks[step.phase] = bars.add_task(step.phase, total=step.total, shards="")
            kept = f", {step.kept} kept" if step.kept else ""
            shards = f"{step.shards} shard{'s' * (step.shards != 1)}{kept}" if step.shards else ""
            bars.update(tasks[step.phase], completed=step.done, total=step.total, shards=shards)

        yield show
