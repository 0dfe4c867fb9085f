"""Values as rich renderables. One console for results (stdout) and one for prose (stderr)."""

from rich.console import Console

out = Console(highlight=False)
"""Results: tables and answers."""
prose = Console(stderr=True, highlight=False)
"""Everything that is not a result."""
