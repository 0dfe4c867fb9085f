"""Where renderables go: one console for results (stdout) and one for prose (stderr)."""

import sys

from rich.console import Console, RenderableType

_WIDE = 10_000
"""Columns where there is no terminal: a pipe has room, and grep has no use for a cropped name or a folded line."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
"""Results: tables and answers."""
prose = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else _WIDE)
"""Everything that is not a result."""


def show(renderable: RenderableType, end: str = "\n") -> None:
    """Print a result; in a pipe without the blanks that rich fills lines up with.

    What the locale has no character for is printed as an escape, as on stderr: that shall not cost the answer.

    Args:
        renderable: table, text or group.
        end: what follows it.
    """
    with out.capture() as printed:
        out.print(renderable, end=end)
    text = printed.get()
    if not out.is_terminal:
        text = "\n".join(line.rstrip() for line in text.split("\n"))
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
