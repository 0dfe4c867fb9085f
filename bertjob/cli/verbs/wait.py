"""``bertjob wait``: return when jobs have ended."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from bertjob.cli import options

if TYPE_CHECKING:
    from bertjob.cluster.runs.catalog import Run


@click.command("wait")
@click.argument("runs", metavar="ID...", nargs=-1, required=True, shell_complete=options.complete_runs)
def verb(runs: tuple[str, ...]) -> None:
    """Wait until jobs have ended.

    An ID is the scheduler's, the name of a run or its folder. Exits with 0 when all of them succeeded, else with 1.
    """
    from bertjob.cluster.runs.catalog import find
    from bertjob.cluster.runs.doubt import known_jobs

    wait_for(known_jobs(find(run) for run in runs))


def wait_for(runs: "Sequence[Run]") -> None:
    """Block until all have ended; say how on stderr, and end with exit code 1 unless all succeeded."""
    from bertjob.cluster.runs.status import status
    from bertjob.cluster.runs.watch import wait

    outcomes = wait(runs)
    fallen = [run for run, outcome in zip(runs, outcomes, strict=True) if not outcome.success]
    rows = {row.run_dir: row for row in status(fallen).rows}
    for run, outcome in zip(runs, outcomes, strict=True):
        row = rows.get(run.path)
        for line in (row and row.failure) or [f"{run.name} ({run.submission.job_id}) {outcome.word}"]:
            click.echo(line, err=True)
    if not all(outcome.success for outcome in outcomes):
        raise click.exceptions.Exit(1)
