"""``bertjob cancel``: end jobs."""

import click

from bertjob.cli import options


@click.command("cancel")
@click.argument("runs", metavar="ID...", nargs=-1, required=True, shell_complete=options.complete_runs)
@click.option("--now", "at_once", is_flag=True, help="End them at once, without a checkpoint of the newest step.")
def verb(runs: tuple[str, ...], at_once: bool) -> None:
    """Cancel jobs.

    A job that trains writes a checkpoint before it stops.
    """
    from bertjob.cluster.runs.catalog import find
    from bertjob.cluster.runs.status import status
    from bertjob.cluster.scheduler import cancel

    found = [find(run) for run in runs]
    over = {row.run_dir for row in status(found).rows if row.over}
    cancel(found, at_once=at_once)
    asked = "asked to end at once:" if at_once else "asked to stop, with a checkpoint if it trains:"
    for run in found:
        word = "had already ended:" if run.path in over else asked
        click.echo(f"{word} {run.name} ({run.submission.job_id})", err=True)
