"""What the shell completes beside verbs and options: runs, keys of jobs, data sets. Each imports what it needs late."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


def runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Names of runs, the newest first; folders where no run is called so."""
    from click.shell_completion import CompletionItem

    from bertjob.cluster.runs.catalog import known

    names = dict.fromkeys(run.name for run in reversed(known()))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of jobs with the sign that their value follows."""
    from bertjob.config.reference import keys

    return [f"{key.path}=" for key in keys("job") if key.path != "base" and key.path.startswith(incomplete)]


def data_sets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of public data sets."""
    from bertjob.cluster.datasets import DATA_SETS

    return [name for name in DATA_SETS if name.startswith(incomplete)]
