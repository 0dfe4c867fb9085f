"""Take a job out of the queue unless it has started: a job that trains is not cancelled because its wait was long.

scancel asks for the state and then cancels, and the job may start in between. A hold is the controller's own doing:
what it shows as pending and held then does not start, whatever is decided next.
"""

import contextlib

from bertjob.cluster import process
from bertjob.cluster.process import deferred_interrupt
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import JobState
from bertjob.cluster.slurm import queue
from bertjob.errors import SchedulerError

_TIMEOUT_S = 30
"""A busy controller takes its time; scontrol gives up by itself after some 9 s when it is away."""
_HELD = "JobHeld"
"""Beginning of the reason of a held job: JobHeldUser, JobHeldAdmin (man squeue)."""


def withdraw(run: Run) -> bool:
    """Cancel a run's job that has not started.

    Returns:
        Whether it was cancelled; False: it has started, or is over.

    Raises:
        SchedulerError: Slurm does not tell; the job stays as it was.
    """
    with deferred_interrupt():  # nobody would release it
        held = _scontrol("hold", run)
        try:
            info = (answer := queue.query([run])).job(run)
            if answer.controller:
                raise SchedulerError(answer.controller)
            if info.state.live and info.state is not JobState.PENDING:
                _release(run)  # else a requeue would find it held (Slurm 22.05)
                return False
            if info.state.ended:
                return False
            if info.state is not JobState.PENDING or not info.reason.startswith(_HELD):
                raise SchedulerError(held or f"job {run.submission.job_id} cannot be held")
            queue.cancel([run], at_once=True)
        except SchedulerError:
            _release(run)
            raise
        return True


def _release(run: Run) -> None:
    with contextlib.suppress(SchedulerError):
        _scontrol("release", run)


def _scontrol(verb: str, run: Run) -> str:
    """Why it did not do it; empty when it did."""
    reply = process.ask("scontrol", verb, run.submission.job_id, timeout=_TIMEOUT_S)
    return f"scontrol {verb}: {process.one_line(reply.text)}" if reply.error else ""
