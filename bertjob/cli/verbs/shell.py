"""``bertjob shell``: a shell where the ranks would run."""

import sys
from typing import Any

import click
from msgspec.structs import replace

from bertjob.cli.options import JobIsOptional, Request, job_options
from bertjob.cli.streams import exact
from bertjob.cluster.host.here import here
from bertjob.launch.problems import refuse_problems, unsaid
from bertjob.launch.shell import script, shell

JOB = "squad"
"""Whose environment it is where no job is named."""


class ShellCommand(JobIsOptional):
    """A verb that runs everything after ``--`` as it is."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            args, ctx.meta["command"] = args[:cut], tuple(args[cut + 1 :])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND]"]


@click.command("shell", cls=ShellCommand)
@job_options(default_site="generic")
@click.option("--dry-run", is_flag=True, help="Print the script in place of running it.")
def verb(request: Request, dry_run: bool) -> None:
    """Open a shell, or run a command, where the ranks would run.

    With the modules, environment, mounts and engine of the JOB (default: squad), on the first of its nodes: in a new
    allocation, or in the one that it is called in. A terminal is asked for where there is one.
    """
    if request.run_dir is not None:
        raise click.UsageError("--run-dir: a shell has no run directory; it starts in this folder")
    words: Any = click.get_current_context().meta.get("command") or ("bash",)
    loaded = replace(request, job=request.job or JOB).load()
    tty = sys.stdin.isatty() and sys.stdout.isatty()
    planned = shell(loaded.job.value, loaded.site.value, here(), words, tty, loaded.job.origins)
    for folder in planned.unseen:
        click.echo(f"not mounted, as there is no such folder: {folder}", err=True)
    if dry_run:
        exact(script(planned))
        return
    refuse_problems(unsaid(planned.job, planned.site), planned.site)
    from bertjob.cluster.local import run_shell

    raise click.exceptions.Exit(run_shell(planned))
