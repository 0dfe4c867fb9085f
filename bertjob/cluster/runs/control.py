"""Cancel runs, on the cluster or here."""

import socket
from collections.abc import Sequence

from bertjob.cluster.runs import process_group
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.slurm import queue
from bertjob.cluster.slurm.queue import JobState
from bertjob.errors import BertjobError, SchedulerError


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
        if run.local and process_group.alive(run):
            (process_group.kill if at_once else process_group.stop)(run.submission.pid)
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
