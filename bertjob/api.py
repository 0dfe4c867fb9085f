"""Public Python API: the three steps of ``bertjob submit``, each of which returns a typed value.

import bertjob

job = bertjob.load_job("squad", ["train.epochs=1"])
plan = bertjob.plan(job, site="generic")
run = bertjob.submit(plan)                # run.job_id, run.run_dir
run.wait()
print(run.state, run.exception() or run.result())
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from bertjob.cluster import scheduler
from bertjob.cluster.host.here import here
from bertjob.cluster.runs import logs
from bertjob.cluster.runs.create import new_run_dir
from bertjob.cluster.runs.outcome import Outcome
from bertjob.cluster.runs.status import Row, status
from bertjob.cluster.runs.watch import Watch, wait
from bertjob.cluster.submit import Submitted
from bertjob.cluster.submit import submit as _submit
from bertjob.config import load
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.errors import BertjobError
from bertjob.launch.plan import Plan
from bertjob.launch.plan import plan as _plan
from bertjob.rundir.directory import RUNS, RunDir


def load_job(name: str, settings: Iterable[str] = ()) -> Job:
    """A job by name or by the path of its file, with ``key.path=value`` settings laid over it.

    Raises:
        SpecError: no such job, or it is not well formed.
    """
    return load.load_job(name, settings).value


def plan(job: Job, site: str | Site = "generic", run_dir: str | Path | None = None) -> Plan:
    """How the job starts at the site; ``bertjob.launch.script.script`` renders it.

    Args:
        job: what to train.
        site: name or file of a site, or a Site.
        run_dir: folder of the run (default: a new one below ``runs``, which ``submit`` makes).

    Raises:
        SpecError: the site is not well formed.
        PreflightError: the job cannot work there.
    """
    where = load.load_site(site).value if isinstance(site, str) else site
    folder = new_run_dir(Path(RUNS), job.name).path if run_dir is None else Path(run_dir).absolute()
    return _plan(job, where, str(folder), here(), site if isinstance(site, str) else None)


class Run:
    """A run that was submitted, with the attributes and methods of submitit's jobs.

    It asks the scheduler at most every ten seconds, however often it is asked itself, but for `state` and with
    `force_check`. Pickles hold no more than where the run is.
    """

    def __init__(self, submitted: Submitted) -> None:
        """The run of a submission."""
        self._submitted = submitted
        self._watch = Watch([submitted.run])
        self._ended: Outcome | None = None

    def __reduce__(self) -> "tuple[type[Run], tuple[Submitted]]":
        return Run, (self._submitted,)

    def __repr__(self) -> str:
        return f"<bertjob.Run {self.run_dir.name}, job {self.job_id}>"

    @property
    def job_id(self) -> str:
        """The scheduler's id of the job; requeues keep it."""
        return self._submitted.job_id

    @property
    def run_dir(self) -> RunDir:
        """Its folder, with paths of all that a run leaves."""
        return self._submitted.run_dir

    @property
    def image_digest(self) -> str | None:
        """Of the image that the job starts; None without one, and where the engine does not tell it."""
        return self._submitted.image_digest

    @property
    def paths(self) -> "Paths":
        """Its files by the names that submitit has for them."""
        run_dir = self.run_dir
        log = run_dir.log(self.job_id)
        return Paths(folder=run_dir.path, submission_file=run_dir.script, stdout=log, stderr=log)

    @property
    def state(self) -> str:
        """The state as ``bertjob status`` has it, in capitals: PENDING, RUNNING, COMPLETED, FAILED, TIMEOUT, UNKNOWN ….

        INTERRUPTED (it stopped with a checkpoint) and LOST are known by the run's own heartbeat alone.
        """
        return self._row().state.upper()

    def done(self, force_check: bool = False) -> bool:
        """Whether the run has ended, well or not. One that was requeued has not.

        Args:
            force_check: ask the scheduler now.
        """
        if self._ended is None:
            watch = Watch([self._submitted.run]) if force_check else self._watch
            self._ended = watch.look().get(self._submitted.run.path)
        return self._ended is not None

    def wait(self) -> None:
        """Block until the run has ended, well or not."""
        if self._ended is None:
            (self._ended,) = wait([self._submitted.run])

    def cancel(self, check: bool = True) -> None:
        """Ask the run to stop with a checkpoint, or take it out of the queue; one that has ended is left.

        Args:
            check: raise what goes wrong.

        Raises:
            SchedulerError: the scheduler refused or is away.
        """
        with contextlib.nullcontext() if check else contextlib.suppress(BertjobError):
            scheduler.cancel([self._submitted.run])

    def stdout(self) -> str | None:
        """The job's log so far, what the script and rank 0 print to stdout and stderr; None where there is none yet."""
        log = self.paths.stdout
        return logs.Tail(log).read() if log.exists() else None

    def stderr(self) -> str | None:
        """None: the one log holds both, as with submitit's ``stderr_to_stdout``."""
        return None

    def exception(self) -> BertjobError | None:
        """Why the run did not succeed, in one line, when it has ended; None if it did."""
        self.wait()
        assert self._ended is not None
        if self._ended.success:
            return None
        row = self._row()
        why = f": {row.reason}" if row.reason else ""
        return BertjobError(f"{self.run_dir.name} ({self.job_id}) {self._ended.word}{why}; resume with: {row.resume}")

    def result(self) -> dict[str, float]:
        """The metrics of the final evaluation, when the run has ended; empty for a task without.

        Raises:
            BertjobError: as `exception` says.
        """
        if (error := self.exception()) is not None:
            raise error
        return dict(self._row().metrics)

    def results(self) -> list[dict[str, float]]:
        """The `result` as the only one of a list: a run is one task, whatever the number of its ranks."""
        return [self.result()]

    def _row(self) -> Row:
        return status([self._submitted.run]).rows[0]


class Paths(msgspec.Struct, frozen=True):
    """Files of a run by the names that submitit has for them."""

    folder: Path
    """The run directory."""
    submission_file: Path
    """The script."""
    stdout: Path
    """The job's log."""
    stderr: Path
    """The same file."""


def submit(plan: Plan) -> Run:
    """Check the plan's files, write its run directory and submit it.

    Raises:
        PreflightError: a file is missing.
        SchedulerError: the scheduler refuses or is away; nothing is left behind.
        UncertainError: one of these, where the job may be queued all the same; its run directory stays.
    """
    return Run(_submit(plan))
