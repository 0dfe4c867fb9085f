"""Cancel runs, on the cluster or here."""

import socket
from collections.abc import Sequence

from bertjob.cluster import process_group, slurm
from bertjob.cluster.runs import Run
from bertjob.errors import BertjobError


def cancel(runs: Sequence[Run]) -> None:
    """Cancel jobs by one scancel call and ask local runs to stop, which they do with a checkpoint; ended ones are left.

    Raises:
        SchedulerError: the scheduler refused or is away.
        BertjobError: a local run was started on another machine.
    """
    for run in runs:
        if run.local and run.submission.host != socket.gethostname():
            raise BertjobError(f"{run.name} was started on {run.submission.host}: cancel it there")
    for run in runs:
        if run.local and process_group.alive(run):
            process_group.stop(run.submission.pid)
    jobs = [run.submission.job_id for run in runs if not run.local]
    if jobs:
        slurm.cancel(jobs)
