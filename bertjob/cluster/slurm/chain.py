"""Submit jobs of which each starts from what the one before has trained."""

import itertools
import logging
from collections.abc import Callable, Sequence

from bertjob.cluster.runs import create
from bertjob.cluster.slurm import queue
from bertjob.cluster.slurm.submit import Submitted, check_submission, submit
from bertjob.config.checks.kernel import MARK, mark, mismatch
from bertjob.errors import PreflightError, SchedulerError, of_job
from bertjob.launch.plan import Plan

_log = logging.getLogger(__name__)
Link = Callable[[tuple[str, ...]], Plan]
"""The plan of one job, given more options of sbatch."""


def check_chain(plans: Sequence[Plan]) -> frozenset[str]:
    """All that is checked before the first job is queued; the models that the jobs will leave to each other.

    Raises:
        PreflightError: as for submit.check_submission and check_layers.
    """
    coming = frozenset(str(create.of(plan).model) for plan in plans)
    for plan in plans:
        with of_job(plan.job.name if len(plans) > 1 else None):
            check_submission(plan, coming)
    check_layers(plans)
    return coming


def check_layers(plans: Sequence[Plan]) -> None:
    """Each job goes on with the layers that the one before it trains with.

    Raises:
        PreflightError: one does not.
    """
    for before, after in itertools.pairwise(plans):
        if wrong := mismatch(after.job.model.kernel, {MARK: mark(before.job.model.kernel)}, f"job {before.job.name}"):
            raise PreflightError(f"job {after.job.name}: {wrong}")


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
            queued.append(submit(link(after), coming, queued[-1] if queued else None))
    except BaseException:  # an interrupt too
        if queued:
            _take_back([link.job_id for link in queued])
        raise
    return queued


def _take_back(jobs: list[str]) -> None:
    try:
        queue.cancel(jobs)
    except SchedulerError as error:
        _log.warning("queued already, and not to be cancelled now (%s): scancel %s", error, " ".join(jobs))
