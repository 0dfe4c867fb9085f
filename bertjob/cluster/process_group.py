"""The processes of a run on this machine: one group, led by the shell that runs its script."""

import contextlib
import os
import signal
import time
from pathlib import Path

from bertjob.cluster.runs import Run

_ORPHANS_S = 10
"""How long processes that outlive the script may take to end."""


def alive(run: Run) -> bool:
    """Whether the script of a local run is running on this machine; another process that has its number is not it."""
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{run.submission.pid}/cmdline").read_bytes().split(b"\0")
        return os.fsencode(run.run_dir.script) in words
    return False


def stop(run: Run) -> None:
    """Ask a local run to write a checkpoint and stop; nothing happens when it has ended."""
    if alive(run):
        send(run.submission.pid, signal.SIGTERM)


def send(group: int, number: int) -> bool:
    """Whether there was anybody in the process group to send the signal to."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def end(group: int) -> None:
    """After the script's end: what is left of its group may end by itself for a while, then is killed."""
    latest = time.monotonic() + _ORPHANS_S
    while send(group, 0):
        if time.monotonic() > latest:
            send(group, signal.SIGKILL)
            return
        time.sleep(0.1)
