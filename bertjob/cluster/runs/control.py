"""Cancel runs, on the cluster or here, where a run is one process group led by the shell of its script."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.slurm import queue
from bertjob.cluster.slurm.queue import JobState
from bertjob.errors import BertjobError, SchedulerError

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


def cancel(runs: Sequence[Run], *, at_once: bool = False) -> None:
    """Ask runs to stop with a checkpoint, and take those that wait out of the queue; ended ones are left.

    Args:
        runs: on a cluster, or on this machine.
        at_once: end them, without a checkpoint of the newest step.

    Raises:
        SchedulerError: the scheduler refused or is away.
        BertjobError: a local run was started on another machine.
    """
    for run in runs:
        if run.local and run.submission.host != socket.gethostname():
            raise BertjobError(f"{run.name} was started on {run.submission.host}: cancel it there")
    for run in runs:
        if run.local and alive(run):
            (kill if at_once else stop)(run.submission.pid)
    jobs = [run.submission.job_id for run in runs if not run.local]
    if not jobs:
        return
    answer = queue.ask(jobs)
    running = [] if at_once else [job for job in jobs if answer.job(job).state is JobState.RUNNING]
    stopping = [job for job in running if _asked_to_stop(job)]
    if others := [job for job in jobs if job not in stopping]:
        queue.cancel(others)


def _asked_to_stop(job: str) -> bool:
    """Whether a running job has been told; each by a call of its own, for one that fails says nothing of the others."""
    try:
        queue.stop(job)
    except SchedulerError:  # it has ended meanwhile, or its script has not begun
        return False
    return True
