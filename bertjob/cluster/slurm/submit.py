"""Submit plans: check, write the run directory, hand the script to sbatch; or leave nothing behind."""

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bertjob.cluster.images import engine
from bertjob.cluster.preflight import check, check_continues, check_over
from bertjob.cluster.process import leftover, one_line
from bertjob.cluster.runs import catalog, create
from bertjob.cluster.slurm import queue
from bertjob.errors import SchedulerError, of_job
from bertjob.launch.checks import refuse_submit
from bertjob.launch.plan import Plan
from bertjob.launch.problems import refuse_chain
from bertjob.rundir.directory import RunDir


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of a submission."""

    job_id: str
    run_dir: RunDir
    image_digest: str | None = None
    """Of the image that the job starts; None without one, and where the engine does not tell it."""


def submit(plan: Plan) -> Submitted:
    """Queue a job. A run directory that exists is continued: the training goes on from its newest checkpoint.

    Args:
        plan: what to run, with its run directory.

    Raises:
        PreflightError: the site has no scheduler, a file is missing, or the run directory cannot be made,
            its job is not over or is another one.
        SchedulerError: sbatch refused, in its own words; or it is not here, or the controller does not answer.
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


def _sbatch(path: Path) -> str:
    """Submit a script through submitit; the job's id."""
    for command in ("sbatch", "srun"):  # submitit wants both
        if shutil.which(command) is None:
            raise SchedulerError(f"there is no command {command} here: submit from a login node of the cluster")
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    # submitit keeps a copy of the script in its folder, which nobody needs afterwards.
    # It also prints what sbatch complained about, which is in its error and is said once, in our line.
    quiet = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory(prefix="bertjob-") as folder, quiet:
        try:
            job: Any = _executor(folder, path)._submit_command("")
        except FailedJobError as error:
            raise SchedulerError(f"sbatch: {one_line(str(error)) or 'refused without a word'}") from None
        except FailedSubmissionError as error:
            raise SchedulerError(str(error).partition("\n")[0]) from None  # it told no job id
        return str(job.job_id)


def _executor(folder: str, path: Path) -> Any:
    from submitit.slurm.slurm import SlurmExecutor

    leftovers = [f"--unset={name}" for name in os.environ if leftover(name)]

    class ScriptExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit is imported late, untyped
        """Submits the run's own script, in a clean environment, in place of one that submitit makes."""

        def _make_submission_file_text(self, command: str, uid: str) -> str:
            return path.read_text(encoding="utf-8", errors="replace")  # of which sbatch gets the original

        def _make_submission_command(self, submission_file_path: Path) -> list[str]:
            return ["env", *leftovers, "sbatch", str(path)]

    return ScriptExecutor(folder)


_log = logging.getLogger(__name__)


def check_chain(plans: Sequence[Plan]) -> None:
    """All that is checked before the first job is queued.

    Raises:
        PreflightError: as for `check_submission` and `refuse_chain`.
    """
    coming = frozenset(str(create.of(plan).model) for plan in plans)
    for plan in plans:
        with of_job(plan.job.name if len(plans) > 1 else None):
            check_submission(plan, coming)
    refuse_chain([plan.job for plan in plans])


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
            queued.append(_queue(plan, queued[-1] if queued else None))
    except BaseException:  # an interrupt too
        if queued:
            _take_back([link.job_id for link in queued])
        raise
    return queued


def _queue(plan: Plan, before: Submitted | None) -> Submitted:
    """Write the run directory of a plan that was checked, and hand its script to sbatch.

    Args:
        plan: what to run.
        before: the job that it waits for.
    """
    waits_for = ("", "")
    if before is not None:
        plan = replace(plan, options=plan.options + plan.scheduler.after(before.job_id))
        waits_for = (before.job_id, str(before.run_dir.path))
    run_dir, digest = create.of(plan), engine.digest_of(plan)
    with create.made(run_dir, create.files(plan, run_dir, digest)):
        job_id = _sbatch(run_dir.script)
    catalog.record(run_dir, job_id=job_id, site=plan.site.name, scheduler="slurm", after=waits_for)
    return Submitted(job_id, run_dir, digest)


def _take_back(jobs: list[str]) -> None:
    try:
        queue.cancel(jobs)
    except SchedulerError as error:
        _log.warning("queued already, and not to be cancelled now (%s): scancel %s", error, " ".join(jobs))
