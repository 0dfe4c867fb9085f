"""``bertjob logs``: a job's log, whole or as it grows."""

import sys

import click

from bertjob.cli import options


@click.command("logs")
@click.argument("run", metavar="ID", shell_complete=options.complete_runs)
@click.option("-f", "--follow", is_flag=True, help="From the start to the job's end, over requeues.")
@click.option("--rank", type=click.IntRange(min=0), metavar="N", help="The own log of rank N.")
def verb(run: str, follow: bool, rank: int | None) -> None:
    """Print a job's log, or follow it.

    Of a run that has failed, stderr has the reason and the command that resumes it.
    """
    from bertjob.cluster.runs import logs
    from bertjob.cluster.runs.catalog import find_job
    from bertjob.cluster.runs.status import status

    found = find_job(run)
    for text in logs.follow(found, rank) if follow else [logs.read(found, rank)]:
        sys.stdout.write(text)
        sys.stdout.flush()
    for row in status([found]).rows:
        if row.resume:
            why = f": {row.reason}" if row.reason else ""
            click.echo(f"{row.name} ({row.job_id}) {row.state}{why}\nresume with: {row.resume}", err=True)
