"""``bertjob cancel``: end jobs."""

import click


@click.command("cancel")
@click.argument("runs", metavar="ID...", nargs=-1, required=True)
def verb(runs: tuple[str, ...]) -> None:
    """Cancel jobs.

    A local run writes a checkpoint before it stops.
    """
    from bertjob.cluster.cancel import cancel
    from bertjob.cluster.runs import find
    from bertjob.cluster.status import status

    found = [find(run) for run in runs]
    over = {row.run_dir for row in status(found).rows if row.over}
    cancel(found)
    for run in found:
        word = "had already ended:" if run.path in over else "asked to end:"
        click.echo(f"{word} {run.name} ({run.submission.job_id})", err=True)
