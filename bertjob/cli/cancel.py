"""``bertjob cancel``: end jobs."""

import click


@click.command("cancel")
@click.argument("runs", metavar="ID…", nargs=-1, required=True)
def verb(runs: tuple[str, ...]) -> None:
    """Cancel jobs.

    A local run writes a checkpoint before it stops.
    """
    from bertjob.cluster.cancel import cancel
    from bertjob.cluster.runs import find

    found = [find(run) for run in runs]
    cancel(found)
    for run in found:
        click.echo(f"cancelled {run.name} ({run.submission.job_id})", err=True)
