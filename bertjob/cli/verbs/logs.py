"""``bertjob logs``: a job's log, whole or as it grows."""

from typing import TYPE_CHECKING

import click

from bertjob.cli import options
from bertjob.cli.streams import LogText, end_unread
from bertjob.errors import DataError

if TYPE_CHECKING:
    from bertjob.cluster.runs.catalog import Run


@click.command("logs")
@click.argument("run", metavar="ID", shell_complete=options.complete_runs)
@click.option("-f", "--follow", is_flag=True, help="From the start to the job's end, over requeues.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="The own log of rank N.")
def verb(run: str, follow: bool, rank: int | None) -> None:
    """Print a job's log, or follow it.

    Of a run that has failed, stderr has the reason and the command that resumes it. On a terminal the log's colours are
    kept; other control characters, which might do anything there, are shown as escapes.
    """
    from bertjob.cluster.runs import logs
    from bertjob.cluster.runs.catalog import find_job, read
    from bertjob.cluster.runs.doubt import known_jobs

    found = find_job(run)
    if not found.submission.job_id:
        (found,) = known_jobs([found])
    newest = read(found.run_dir) or found
    shown = LogText()
    try:
        for text in logs.follow(found, rank) if follow else [logs.read(found, rank)]:
            shown.print(text)
            end_unread()
    except DataError:  # a job that failed at once has no log of a rank, or none at all
        _tell(found, newest)
        raise
    finally:
        shown.end()
    _tell(found, newest)


def _tell(found: "Run", newest: "Run") -> None:
    """Say of a job that has failed why, and how its run goes on."""
    from bertjob.cluster.runs.outcome import own_state
    from bertjob.cluster.runs.status import status
    from bertjob.rundir.state import read_state

    own = own_state(found, read_state(found.run_dir.state))
    if own is not None and own.phase == "done":  # which need not be asked
        return
    for row in status([found]).rows:
        failure = row.failure
        if failure and found.submission.job_id != newest.submission.job_id:
            failure = [failure[0], f"its run went on as job {newest.submission.job_id}"]
        for line in failure:
            click.echo(line, err=True)
