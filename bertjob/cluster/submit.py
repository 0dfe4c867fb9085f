"""Submit plans: check, write the run directory, hand the script to the scheduler; or leave nothing behind."""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from bertjob.cluster import capacity, limit_checks, scheduler
from bertjob.cluster.claim import check_over, hand_on
from bertjob.cluster.copies import refuse_copies
from bertjob.cluster.images import engine
from bertjob.cluster.input_checks import hub_problem
from bertjob.cluster.preflight import check, check_continues
from bertjob.cluster.process import deferred_interrupt
from bertjob.cluster.runs import catalog, create, provenance
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.errors import PreflightError, SchedulerError, UncertainError, of_job
from bertjob.launch.checks import refuse_submit
from bertjob.launch.plan import Plan
from bertjob.launch.problems import refuse_chain, refuse_problems
from bertjob.rundir.directory import RunDir

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of a submission."""

    run: Run
    image_digest: str | None = None
    """Of the image that the job starts; None without one, and where the engine does not tell it."""

    @property
    def job_id(self) -> str:
        """The scheduler's id of the job."""
        return self.run.submission.job_id

    @property
    def run_dir(self) -> RunDir:
        """Where it runs."""
        return self.run.run_dir


def submit(plan: Plan) -> Submitted:
    """Queue a job. A run directory that exists is continued: the training goes on from its newest checkpoint.

    Args:
        plan: what to run, with its run directory.

    Raises:
        PreflightError: the site has no scheduler, a file is missing, or the run directory cannot be made,
            its job is not over or is another one.
        SchedulerError: the scheduler refused, in its own words; or its commands are not here, or it does not answer.
        UncertainError: one of these, where the job may be queued all the same; its run directory stays.
    """
    (submitted,) = submit_chain((plan,))
    return submitted


def check_submission(plan: Plan, coming: Collection[str] = ()) -> None:
    """All that is checked before a job is queued.

    Args:
        plan: what to run.
        coming: paths that jobs before it will make.

    Raises:
        PreflightError: as for `submit`.
    """
    refuse_submit(plan.site)
    check(plan, coming)
    run_dir = create.of(plan)
    check_over(run_dir)
    check_continues(plan, run_dir)


def check_chain(plans: Sequence[Plan]) -> None:
    """All that is checked before the first job is queued.

    Raises:
        PreflightError: as for `check_submission` and `refuse_chain`; or no partition that a job may start in has what
            it asks for, and it would wait for ever; or this process is one of several that would each queue it.
    """
    refuse_copies(submits=True)
    coming = frozenset(str(create.of(plan).model) for plan in plans)
    if problem := plans[0].scheduler.environment_problem(os.environ):
        raise PreflightError(problem)
    groups: dict[tuple[str, ...], tuple[NodeGroup, ...]] = {}
    for plan in plans:
        if (options := plan.job.resources.sbatch) not in groups:
            groups[options] = scheduler.CLIENTS[plan.site.scheduler].groups(options)
        with of_job(plan.job.name if len(plans) > 1 else None):
            check_submission(plan, coming)
            refuse_problems(capacity.problems(plan.job, plan.site, groups[options]), plan.site)
    refuse_chain([plan.job for plan in plans])
    limits = [problem for plan in plans for problem in limit_checks.problems(plan)]
    for line in dict.fromkeys([*filter(None, map(hub_problem, plans)), *limits]):
        _log.warning("warning: %s", line)


def submit_chain(plans: Sequence[Plan]) -> list[Submitted]:
    """Queue jobs, each of which starts when the one before it has succeeded; a failed one cancels the rest.

    All are checked before the first one is queued. Where the scheduler refuses one, those before it are cancelled.

    Raises:
        PreflightError, SchedulerError: as for `submit`.
    """
    check_chain(plans)
    queued: list[Submitted] = []
    try:
        for plan in plans:
            with deferred_interrupt():
                queued.append(_queue(plan, queued[-1] if queued else None))
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | SystemExit)  # SystemExit: of TERM
        if queued:
            why = "interrupted" if interrupted else "the rest of the chain could not be queued"
            _take_back([link.run for link in queued], why)
        elif interrupted:
            _log.warning("interrupted; nothing was queued")
        raise
    return queued


def _queue(plan: Plan, before: Submitted | None) -> Submitted:
    """Write the run directory of a plan that was checked, and hand its script to the scheduler.

    Args:
        plan: what to run.
        before: the job that it waits for.
    """
    waits_for = ("", "")
    if before is not None:
        said = before.run.submission
        plan = replace(plan, options=plan.options + plan.scheduler.after(plan.options, said.job_id, said.cluster))
        waits_for = (said.job_id, str(before.run_dir.path))
    run_dir, digest = create.of(plan), engine.digest_of(plan)
    with create.made(run_dir, create.files(plan, run_dir, digest)) as claim:
        try:
            started = scheduler.CLIENTS[plan.site.scheduler].submit(run_dir)
        except UncertainError:
            catalog.expect(run_dir)
            raise
    submission = catalog.submission(
        run_dir,
        started,
        site=plan.site.name,
        scheduler=plan.site.scheduler,
        job_name=plan.job.name,
        after=waits_for,
    )
    try:
        hand_on(run_dir, claim, started)
    except PreflightError:
        _take_back([Run(str(run_dir.path), submission)], "its run directory is another job's by now")
        raise
    run = catalog.file(run_dir, submission)
    provenance.add_cluster(run_dir.provenance, started.cluster)
    return Submitted(run, digest)


def _take_back(runs: Sequence[Run], why: str) -> None:
    """Cancel what was queued, and say so."""
    ids = [run.submission.job_id for run in runs]
    try:
        scheduler.cancel(runs, at_once=True)
    except SchedulerError as error:
        cluster = f" --clusters={runs[0].submission.cluster}" if scheduler.elsewhere(runs[0]) else ""
        command = f"{runs[0].scheduler.cancel_command}{cluster} {' '.join(ids)}"
        _log.warning("queued already, and not to be cancelled now (%s): %s", error, command)
    else:
        _log.warning("%s; cancelled: %s", why, ", ".join(ids))
