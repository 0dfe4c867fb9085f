"""Where renderables go: one console for results (stdout) and one for prose (stderr)."""

import sys

from rich.console import Console

_WIDE = 200
"""Columns where there is no terminal: a pipe has room, and a cropped name is of no use to a script."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)
"""Results: tables and answers."""
prose = Console(stderr=True, highlight=False)
"""Everything that is not a result."""
