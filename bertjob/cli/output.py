"""Where renderables go: one console for results (stdout) and one for prose (stderr).

Both make control characters in what they show visible, and go around the doors of bertjob.cli.streams.
"""

import json
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import IO, TYPE_CHECKING, TextIO, cast

import click

from bertjob.cli.streams import behind
from bertjob.config.search import Kind, names
from bertjob.errors import SpecError
from bertjob.text import visible

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_WIDE = 10_000
"""Columns where there is no terminal: a pipe has room, and grep has no use for a cropped name or a folded line."""


@cache
def _class() -> "type[Console]":
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class VisibleConsole(Console):
        """A console whose own commands, like colours, are the only ones that reach the terminal."""

        @property
        def file(self) -> IO[str]:
            file = super().file  # of a live display it is rich's, in front of a door
            return behind(cast("TextIO", getattr(file, "rich_proxied_file", file)))

        @file.setter
        def file(self, file: IO[str]) -> None:
            self._file = file

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            for text, style, control in super().render(renderable, options):
                yield Segment(text if control else visible(text), style, control)

    return VisibleConsole


@cache
def out() -> "Console":
    """The console of results: tables and answers. Made when first used, as importing rich takes time."""
    return _class()(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


@cache
def prose() -> "Console":
    """The console of everything that is not a result."""
    return _class()(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)


def show(renderable: "RenderableType", end: str = "\n") -> None:
    """Print a result; in a pipe without the blanks that rich fills lines up with.

    What the locale has no character for is printed as an escape, as on stderr: that shall not cost the answer.

    Args:
        renderable: table, text or group.
        end: what follows it.
    """
    console = out()
    with console.capture() as printed:
        console.print(renderable, end=end)
    text = printed.get()
    if not console.is_terminal:
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    encoding = sys.stdout.encoding
    behind(sys.stdout).write(text.encode(encoding, "backslashreplace").decode(encoding))


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
    from bertjob.cli.tables import names_table

    show(names_table(described))
