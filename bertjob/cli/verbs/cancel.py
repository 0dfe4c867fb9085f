"""``bertjob cancel``: end jobs."""

from functools import partial

import click

from bertjob.cli import options
from bertjob.errors import SchedulerError

_PATIENCE_S = 9.0
"""Who cancels hears within ten seconds that the scheduler is away."""


@click.command("cancel")
@click.argument("runs", metavar="ID...", nargs=-1, required=True, shell_complete=options.complete_runs)
@click.option("--now", "at_once", is_flag=True, help="End them at once, without a checkpoint of the newest step.")
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="Time for a checkpoint, after which they are ended without one.",
)
@click.option("--no-wait", is_flag=True, help="Return once they are asked to stop.")
def verb(runs: tuple[str, ...], at_once: bool, grace: float, no_wait: bool) -> None:
    """Cancel jobs.

    A job that trains writes a checkpoint before it stops; one that writes none in time, or whose heartbeat has stopped,
    is ended without. Ctrl-C leaves jobs to stop by themselves.
    """
    from bertjob.cli.progress import showing_cancellation
    from bertjob.cluster import scheduler
    from bertjob.cluster.runs.cancel import ask_to_stop, latest, see_to_the_end
    from bertjob.cluster.runs.catalog import find_newest
    from bertjob.cluster.runs.doubt import known_jobs
    from bertjob.cluster.runs.status import status

    found = known_jobs(find_newest(run) for run in runs)
    now = status(found, partial(scheduler.ask, patience=_PATIENCE_S))
    if now.away:
        raise SchedulerError(now.notes[0])
    over = {row.run_dir for row in now.rows if row.over}
    going = [run for run in found if run.path not in over]
    stopping = () if at_once else ask_to_stop(going)
    if at_once:
        scheduler.cancel(going, at_once=True)
    asked = "asked to end at once:" if at_once else "asked to stop, with a checkpoint if it trains:"
    for run in found:
        word = "had already ended:" if run.path in over else asked
        click.echo(f"{word} {run.name} ({run.submission.job_id})", err=True)
    for line in now.strangers:
        click.echo(f"left alone: {line}", err=True)
    if no_wait or not stopping:
        return
    with showing_cancellation(grace) as (notify, show):
        outcomes = see_to_the_end(stopping, grace, notify, show)
    for one, outcome in zip(stopping, outcomes, strict=True):
        name, kept = one.run.name, latest(one.run)
        newest = f", newest checkpoint {kept}" if kept else ", without a checkpoint"
        click.echo(f"{name} ({one.run.submission.job_id}) {outcome.word}{newest}", err=True)
