"""Wait for something to come about."""

import time
from collections.abc import Callable


def until(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Look five times a second until `condition` holds, for `seconds` at most: a machine may have other work."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come about within {seconds} s"
        time.sleep(0.2)
