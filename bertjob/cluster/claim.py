"""One start at a time: `run` and `submit` take the lease of a run directory first, and hand it on to their job.

Whether its present holder is still at work is decided here for the login side: the scheduler knows its jobs, and
this machine its processes; anybody else is at work who keeps touching the lease.
"""

import logging
import socket

from bertjob.cluster import scheduler
from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import own_state
from bertjob.cluster.scheduler_answers import LIVE, JobInfo, Started
from bertjob.errors import PreflightError, SchedulerError
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.launch.schedulers.no_scheduler import JOB_ID
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.lease import Holder
from bertjob.rundir.state import ENDED, RunState, read_state
from bertjob.rundir.submissions import Submission
from bertjob.text import reason

_log = logging.getLogger(__name__)


def check_over(run_dir: RunDir) -> None:
    """Refuse a run directory in which a job is at work or waits to be: two would overwrite each other's checkpoints.

    Raises:
        PreflightError: one is; says which.
        SchedulerError: its scheduler does not tell.
    """
    try:
        holder = lease.read(run_dir)
    except OSError as error:
        raise PreflightError(f"{run_dir.lease}: cannot be read: {reason(error)}") from None
    newest = catalog.read(run_dir)
    if newest is not None:
        _check_submission(newest)
        if holder is None:
            _check_heartbeat(newest)
    if holder is not None and not holder.ended:
        _check_holder(run_dir, holder, newest)


def _check_submission(run: Run) -> None:
    """Refuse beside the newest submission, as its scheduler or its process here tells."""
    answer, state = scheduler.ask([run]), read_state(run.run_dir.state)
    info = answer.job(run)
    stands = info.state
    if not info.asked and scheduler.CLIENTS[run.submission.scheduler].installed() and not _is_done(run, state):
        said = f"whether its job {run.submission.job_id} is over is not known"
        raise SchedulerError(f"{run.path}: {said}: {answer.controller}")
    if stands not in LIVE:
        return
    of = run.submission
    if run.scheduler.queues:
        raise PreflightError(f"{run.path}: its job {_named(run)} is still {stands}; cancel it or wait for it")
    raise PreflightError(f"{run.path}: is still running here as process {of.pid}")


def _check_heartbeat(run: Run) -> None:
    """Refuse beside a local run elsewhere that an older version began, without a lease: if it still writes."""
    if run.scheduler.queues or run.submission.host == socket.gethostname():
        return
    state = own_state(run, read_state(run.run_dir.state))
    if (state is None or state.phase not in ENDED) and not lease.is_silent(run.run_dir.state):
        raise PreflightError(f"{run.path}: is still running on {run.submission.host}; stop it there or wait for it")


def _is_done(run: Run, state: RunState | None) -> bool:
    own = own_state(run, state)
    return own is not None and own.phase == "done"


def _check_holder(run_dir: RunDir, holder: Holder, newest: Run | None) -> None:
    """Refuse beside the holder: of a job that a person submitted with sbatch, only the lease has the id."""
    if holder.job_id not in ("", JOB_ID):
        run = _run_of(run_dir, holder, newest)
        info = _stands(run)
        if info.state in LIVE:
            raise PreflightError(f"{run.path}: its job {_named(run)} is still {info.state}; cancel it or wait for it")
        if info.asked:
            return
    at_work = lease.lives(holder)
    if at_work is None:
        at_work = not lease.is_silent(run_dir.lease)
    if at_work:
        raise PreflightError(f"{run_dir.path}: {holder} is at work there; stop it or wait for it")
    if not holder.job_id:
        _check_queues(run_dir)


def _check_queues(run_dir: RunDir) -> None:
    """Refuse beside a job that an earlier submission has queued, of which nobody learned the id."""
    for name, client in scheduler.CLIENTS.items():
        if client.installed():
            found, error = client.find(run_dir)
            if found is not None:
                job_id = found.job_id
                ends = f"{SCHEDULERS[name].cancel_command} {job_id}"
                raise PreflightError(
                    f"{run_dir.path}: job {job_id} of an earlier submission is in the queue: wait for it, or {ends}"
                )
            if error:
                raise SchedulerError(f"{run_dir.path}: whether an earlier submission is queued is not known: {error}")


def _run_of(run_dir: RunDir, holder: Holder, newest: Run | None) -> Run:
    queues = newest is not None and newest.scheduler.queues
    name = newest.submission.scheduler if newest and queues else next(n for n, row in SCHEDULERS.items() if row.queues)
    if newest and newest.submission.job_id == holder.job_id and holder.cluster in ("", newest.submission.cluster):
        return newest
    said = Submission(
        job_id=holder.job_id, cluster=holder.cluster, site="", scheduler=name, time=holder.time, host=holder.host
    )
    return Run(str(run_dir.path), said)


def _named(run: Run) -> str:
    where = f" on {run.submission.cluster}" if scheduler.elsewhere(run) else ""
    return f"{run.submission.job_id}{where}"


def _stands(run: Run) -> JobInfo:
    return scheduler.ask([run]).job(run)


def claim(run_dir: RunDir, job_id: str) -> tuple[Holder, Holder | None]:
    """Take the lease of a run directory for a job that is about to begin there; of several callers one succeeds.

    Args:
        run_dir: is there.
        job_id: of the job; empty where the scheduler has not named it yet.

    Returns:
        The claim, and what it has replaced.

    Raises:
        PreflightError: another job is at work there, or about to begin; says which.
        OSError: the lease cannot be written.
    """
    own = lease.of_this_process(job_id)
    while True:
        former = lease.read(run_dir)
        check_over(run_dir)
        if lease.replace(run_dir, former, own):
            return own, former


def hand_on(run_dir: RunDir, own: Holder, started: Started) -> None:
    """Hand the lease on to a job that was queued, and may have begun and taken it already.

    Raises:
        PreflightError: another job has begun there meanwhile; says which.
    """
    job_id = started.job_id
    try:
        if lease.replace(run_dir, own, lease.of_waiting_job(job_id, started.cluster)):
            return
        found = lease.read(run_dir)
    except OSError as error:
        _log.warning("%s: job %s cannot be written down: %s", run_dir.lease, job_id, reason(error))
        return
    if found is not None and (found.job_id != job_id or started.cluster not in ("", found.cluster)):
        raise PreflightError(f"{run_dir.path}: {found} has begun there meanwhile, so job {job_id} is taken back")
