"""Submit jobs of which each starts from what the one before has trained."""

from collections.abc import Callable, Sequence

from bertjob.cluster import rundir, slurm
from bertjob.cluster.submit import Submitted, check_submission, submit
from bertjob.errors import BertjobError
from bertjob.launch.plan import Plan

Link = Callable[[tuple[str, ...]], Plan]
"""The plan of one job, given more options of sbatch."""


def check_chain(plans: Sequence[Plan]) -> frozenset[str]:
    """All that is checked before the first job is queued; the models that the jobs will leave to each other.

    Raises:
        PreflightError: as for submit.check_submission.
    """
    coming = frozenset(str(rundir.of(plan).model) for plan in plans)
    for plan in plans:
        check_submission(plan, coming)
    return coming


def submit_chain(links: Sequence[Link]) -> list[Submitted]:
    """Queue jobs, each of which starts when the one before it has succeeded; a failed one cancels the rest.

    All are checked before the first one is queued. Where the scheduler refuses one, those before it are cancelled.

    Raises:
        PreflightError, SchedulerError: as for submit.submit.
    """
    coming = check_chain([link(()) for link in links])
    queued: list[Submitted] = []
    try:
        for link in links:
            after = ("--kill-on-invalid-dep=yes", f"--dependency=afterok:{queued[-1].job_id}") if queued else ()
            queued.append(submit(link(after), coming))
    except BertjobError:
        if queued:
            slurm.cancel([link.job_id for link in queued])
        raise
    return queued
