"""Runs without a scheduler: each is one process group of this machine, led by the shell of its script."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from bertjob.cluster.process import leftover
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import GONE, UNKNOWN, Answer, JobInfo, JobState, Started
from bertjob.config.registry.launchers import is_leftover
from bertjob.errors import BertjobError
from bertjob.launch.environment import MEETING_POINT
from bertjob.launch.schedulers.no_scheduler import JOB_ID
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import FORMER_LEASE

INHERITED_LIMITS = frozenset({"AS", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "STACK"})
"""Resource limits that a process has of its parent (getrlimit(2))."""
_ORPHANS_S = 10
"""How long processes that outlive the script may take to end."""
_OWN = "BERTJOB_"
"""Beginning of names of variables that an enclosing job of bertjob sets."""


def submit(run_dir: RunDir) -> Started:
    """Start the script of a run, which goes on until it ends, whatever becomes of this process.

    This process holds the lease of the run; rank 0 takes it over.
    """
    holder = lease.read(run_dir)
    with run_dir.log(JOB_ID).open("ab") as output:
        process = subprocess.Popen(
            ["bash", str(run_dir.script)],
            env={**clean_environment(os.environ), FORMER_LEASE: holder.nonce if holder else ""},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and what we forward reaches all of the job
        )
    return Started(JOB_ID, process=process)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what an enclosing job or launcher left in it."""

    def misleads(name: str) -> bool:
        return leftover(name) or is_leftover(name) or name.startswith(_OWN) or name in MEETING_POINT

    return {name: value for name, value in environment.items() if not misleads(name)}


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


def query(runs: Collection[Run], patience: float) -> Answer:
    """Where runs stand, as far as the processes of this machine tell, at once; of others nothing is known."""
    here = socket.gethostname()
    return Answer({run.path: _info(run) if run.submission.host == here else UNKNOWN for run in runs})


def _info(run: Run) -> JobInfo:
    return JobInfo(JobState.RUNNING) if alive(run) else GONE


def cancel(runs: Collection[Run], *, at_once: bool) -> None:
    """Ask runs to stop with a checkpoint, or end them at once; those that have ended are left.

    Raises:
        BertjobError: one was started on another machine; all go on.
    """
    for run in runs:
        if run.submission.host != socket.gethostname():
            raise BertjobError(f"{run.name} was started on {run.submission.host}: cancel it there")
    for run in runs:
        if alive(run):
            (kill if at_once else stop)(run.submission.pid)
