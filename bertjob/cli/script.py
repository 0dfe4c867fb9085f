"""``bertjob script``: the exact bytes that submit would send."""

import sys

import click

from bertjob.cli.options import Request, SbatchCommand, job_options
from bertjob.launch.script import script


@click.command("script", cls=SbatchCommand)
@job_options(default_site="generic")
def verb(request: Request) -> None:
    """Print the exact script that submit would send.

    The script holds all that it needs: `bertjob script squad --nodes 8 > squad.sbatch` and then `sbatch squad.sbatch`.
    """
    # Straight to the stream: a console would wrap long lines.
    sys.stdout.write(script(request.plan(request.run_dir)))
