"""``bertjob script``: the exact bytes that submit would send."""

from pathlib import Path

import click

from bertjob.cli.options import Request, SbatchCommand, job_options
from bertjob.cli.streams import exact
from bertjob.launch.script import script


@click.command("script", cls=SbatchCommand)
@job_options(default_site="generic")
def verb(request: Request) -> None:
    """Print the exact script that submit would send.

    The script holds all that it needs: `bertjob script squad --nodes 2 --gpus-per-node 4 > squad.sbatch`, and then
    `sbatch squad.sbatch`.
    """
    plan = request.load().plan(None if request.run_dir is None else Path(request.run_dir))
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    for problem in plan.problems:
        click.echo(f"error: {problem}", err=True)
    exact(script(plan))
