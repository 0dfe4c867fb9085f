"""The processes of a run on this machine: one group, led by the shell that runs its script."""

import contextlib
import os
import signal
import time
from pathlib import Path

from bertjob.cluster.runs.catalog import Run

_ORPHANS_S = 10
"""How long processes that outlive the script may take to end."""


def alive(run: Run) -> bool:
    """Whether the script of a local run is running on this machine; another process that has its number is not it."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{run.submission.pid}/cmdline").read_bytes().split(b"\0")
        return os.fsencode(run.run_dir.script) in words
    return False


def stop(leader: int) -> None:
    """Ask the script to stop; it asks its ranks for a checkpoint. TERM to all of the group would kill an mpirun."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, signal.SIGTERM)


def kill(leader: int) -> None:
    """Kill the script and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def end(leader: int) -> None:
    """After the script's end: what is left of its group may end by itself for a while, then is killed."""
    latest = time.monotonic() + _ORPHANS_S
    while _any_left(leader):
        if time.monotonic() > latest:
            kill(leader)
            return
        time.sleep(0.1)


def _any_left(leader: int) -> bool:
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True
