"""``bertjob logs``: a job's log, whole or as it grows."""

import click

from bertjob.cli import options
from bertjob.cli.streams import LogText


@click.command("logs")
@click.argument("run", metavar="ID", shell_complete=options.complete_runs)
@click.option("-f", "--follow", is_flag=True, help="From the start to the job's end, over requeues.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="The own log of rank N.")
def verb(run: str, follow: bool, rank: int | None) -> None:
    """Print a job's log, or follow it.

    On a terminal its colours are kept; other control characters, which might do anything there, are shown as escapes.
    """
    from bertjob.cluster.runs import logs
    from bertjob.cluster.runs.catalog import find

    found = find(run)
    shown = LogText()
    try:
        for text in logs.follow(found, rank) if follow else [logs.read(found, rank)]:
            shown.print(text)
    finally:
        shown.end()
