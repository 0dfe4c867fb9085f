"""The list of jobs or sites there are."""

import json
from collections.abc import Callable

import click

from bertjob.config.search import Kind, names
from bertjob.errors import SpecError


def show_names(kind: Kind, description: Callable[[str], str], as_json: bool) -> None:
    """Print every name with its line; a file that is not well formed says what is wrong with it.

    Args:
        kind: job or site.
        description: the line of the file at a path; may raise SpecError.
        as_json: one JSON object in place of a table.
    """

    def line(path: str) -> str:
        try:
            return description(path)
        except SpecError as error:
            return f"not well formed: {error}"

    described = {name: line(str(path)) for name, path in names(kind).items()}
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    from bertjob.cli.output import show
    from bertjob.cli.views import names_table

    show(names_table(described))
