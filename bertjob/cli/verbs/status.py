"""``bertjob status``: where jobs stand, from one question to the scheduler."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bertjob.cli import options
from bertjob.cli.options import json_option
from bertjob.cli.streams import end_unread
from bertjob.errors import SchedulerError, SpecError
from bertjob.rundir.directory import RUNS
from bertjob.text import counted

if TYPE_CHECKING:
    from bertjob.cluster.runs.catalog import Run
    from bertjob.cluster.runs.status import Status
    from bertjob.cluster.scheduler_answers import Answer

ASK_EVERY_S = 10.0
"""Seconds between questions to the scheduler under --watch: clusters are shared."""
_REDRAW_S = 1.0
_SHOWN = 20


@click.command("status")
@click.argument("runs", metavar="[ID...]", nargs=-1, shell_complete=options.complete_runs)
@click.option("-w", "--watch", is_flag=True, help="Refresh in place until interrupted.")
@click.option("-a", "--all", "everything", is_flag=True, help=f"All runs, not only the newest {_SHOWN}.")
@click.option(
    "--rebuild",
    is_flag=True,
    help="First make the index of runs anew, from the runs in ./runs and in the folders given.",
)
@json_option
def verb(runs: tuple[str, ...], watch: bool, everything: bool, rebuild: bool, as_json: bool) -> None:
    """Show where jobs stand."""
    from bertjob.cluster.runs.catalog import find, known
    from bertjob.cluster.runs.doubt import settled

    if rebuild:
        _rebuild(runs)
        runs = ()

    named = settled(find(run) for run in runs)

    def choose() -> "Sequence[Run]":
        return named or settled(known()[0 if everything else -_SHOWN :])

    if as_json:
        if watch:
            raise click.UsageError(
                "--watch is for people, --json for programs: choose one", click.get_current_context()
            )
        import msgspec

        from bertjob.cluster.runs.status import status

        now = status(choose())
        for note in now.notes:
            click.echo(note, err=True)
        click.echo(msgspec.json.encode(now.rows).decode())
        _end(now)
    elif watch:
        _watch(choose)
    else:
        _show(choose(), resumes=bool(named))


def _rebuild(folders: tuple[str, ...]) -> None:
    from bertjob.cluster.runs import catalog

    for folder in folders:
        if not Path(folder).is_dir():
            raise SpecError(f"{folder}: no such folder: --rebuild takes folders that hold run directories")
    number = catalog.rebuild([Path(folder) for folder in (RUNS, *folders)])
    click.echo(f"the index of runs is made anew: {counted(number, 'run')}", err=True)


def _show(runs: "Sequence[Run]", *, resumes: bool) -> None:
    from bertjob.cli.output import out, prose, show
    from bertjob.cli.status_table import status_table
    from bertjob.cluster.runs.status import status

    now = status(runs)
    for note in now.notes:
        prose().print(note, style="yellow", markup=False)
    if now.rows:
        show(status_table(now.rows, out().width))
        for row in now.rows if resumes else ():
            if row.resume:
                click.echo(f"resume {row.name} with: {row.resume}", err=True)
        if not resumes and any(row.resume for row in now.rows):
            prose().print("bertjob status ID names the command that resumes a run", style="dim")
    else:
        prose().print("no runs yet: bertjob run squad-demo")
    _end(now)


def _end(now: "Status") -> None:
    if now.away:
        raise click.exceptions.Exit(SchedulerError.exit_code)


def _with_news(answer: "Answer", runs: "Collection[Run]") -> "Answer":
    """The answer with what the processes of this machine tell now, which costs nobody anything."""
    from bertjob.cluster import scheduler

    return answer.updated(scheduler.ask([run for run in runs if not run.scheduler.queues]))


def _watch(choose: "Callable[[], Sequence[Run]]") -> None:
    """Redraw every second from the runs' own heartbeats; ask the scheduler, and for new runs, every ten."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from bertjob.cli.output import out
    from bertjob.cli.status_table import status_table
    from bertjob.cluster import scheduler
    from bertjob.cluster.runs.catalog import with_those_before
    from bertjob.cluster.runs.sightings import Sightings
    from bertjob.cluster.runs.status import status
    from bertjob.cluster.scheduler_answers import Answer

    runs: Sequence[Run] = ()
    sightings = Sightings.remembered()
    with Live(console=out(), auto_refresh=False) as live:
        asked, answer = float("-inf"), Answer()
        while True:
            if time.monotonic() - asked >= ASK_EVERY_S:
                runs = choose()
                answer, asked = scheduler.ask(with_those_before(runs)), time.monotonic()
                sightings.remember()
            now = status(runs, partial(_with_news, answer), sightings)
            table = status_table(now.rows, out().width)
            live.update(Group(table, *(Text(note, style="yellow") for note in now.notes)), refresh=True)
            end_unread()
            time.sleep(_REDRAW_S)
