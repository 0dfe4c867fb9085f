"""``bertjob clean``: remove the folders of runs that came to nothing."""

import sys
from typing import TYPE_CHECKING

import click

from bertjob.cli import options
from bertjob.cli.options import json_option
from bertjob.text import counted

if TYPE_CHECKING:
    from bertjob.cluster.runs.clean import Rest


@click.command("clean")
@click.argument("runs", metavar="[ID...]", nargs=-1, shell_complete=options.complete_runs)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@json_option
def verb(runs: tuple[str, ...], yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove runs that came to nothing, or those named.

    Without an ID it is all runs that failed, were cancelled or are lost, and left neither a model nor a checkpoint.
    What may be at work stays in any case. Each line of stdout is a folder that is gone.
    """
    from bertjob.cluster.runs import clean
    from bertjob.cluster.runs.catalog import find, known
    from bertjob.cluster.runs.doubt import settled
    from bertjob.cluster.runs.status import status

    found = settled({run.path: run for run in map(find, runs)}.values() if runs else known())
    now = status(found)
    for note in now.notes:
        click.echo(note, err=True)
    rests = (clean.named if runs else clean.came_to_nothing)(found, now.rows)
    if rests and not dry_run and not yes:
        _ask(rests)
    if not dry_run:
        clean.remove(rests)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(rests).decode())
    elif rests:
        click.echo("\n".join(rest.run_dir for rest in rests))
    click.echo(f"{'would be removed' if dry_run else 'removed'}: {_sum(rests)}", err=True)


def _ask(rests: "list[Rest]") -> None:
    if not _can_answer():
        raise click.UsageError(
            f"{_sum(rests)} would go: say --yes, or --dry-run to see which", click.get_current_context()
        )
    for rest in rests:
        click.echo(f"{rest.name}  {rest.state}  {rest.bytes / 1e6:.1f} MB", err=True)
    if not click.confirm(f"remove {_sum(rests)}?", err=True):
        raise click.exceptions.Exit(1)


def _can_answer() -> bool:
    return sys.stdin.isatty()


def _sum(rests: "list[Rest]") -> str:
    total = sum(rest.bytes for rest in rests)
    return f"{counted(len(rests), 'run')}, {total / 1e6:.1f} MB"
