"""Submissions in doubt: nobody learned whether the scheduler took the job, as it gave no clear answer.

The lease of such a run still belongs to the submission and names no job. The queue is searched again by every verb that
shows or ends runs; a job that it has is written down then.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from bertjob.cluster import scheduler
from bertjob.cluster.claim import hand_on
from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import Started
from bertjob.errors import PreflightError, SchedulerError
from bertjob.rundir import lease


def settled(runs: Iterable[Run]) -> list[Run]:
    """Runs with the job that the queue has of a submission in doubt; where it has none, the submission has no id."""
    return [_settled(run) for run in runs]


def known_jobs(runs: Iterable[Run]) -> list[Run]:
    """The same, for those who need the jobs.

    Raises:
        SchedulerError: the queue has no job of one, or does not answer.
    """
    found = settled(runs)
    for run in found:
        if not run.submission.job_id:
            why = scheduler.ask([run]).controller or "the queue has no job of it"
            raise SchedulerError(f"{run.path}: whether its job was queued is not known: {why}")
    return found


def _settled(run: Run) -> Run:
    doubt = catalog.in_doubt(run.run_dir) if run.scheduler.queues else None
    if doubt is None or (run.submission.job_id and run.submission.time >= doubt.submission.time):
        return run
    found, _ = scheduler.CLIENTS[doubt.submission.scheduler].find(run.run_dir)
    return doubt if found is None else _written_down(doubt, found)


def _written_down(doubt: Run, found: Started) -> Run:
    holder = lease.read(doubt.run_dir)
    if holder is not None and not holder.job_id:
        try:
            hand_on(doubt.run_dir, holder, found)
        except PreflightError:  # it has begun meanwhile, and has written itself down
            return catalog.read(doubt.run_dir) or doubt
    said = doubt.submission
    submission = catalog.submission(
        doubt.run_dir, found, site=said.site, scheduler=said.scheduler, job_name=said.job_name
    )
    # It was submitted then, there; the working directory nobody knows any more.
    return catalog.file(doubt.run_dir, replace(submission, time=said.time, host=said.host, directory=""))
