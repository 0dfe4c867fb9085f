"""The Python way in: the same three steps as ``bertjob submit``, each returning a typed value.

import bertjob

job = bertjob.load_job("squad", ["train.epochs=1"])
plan = bertjob.plan(job, site="generic")
submitted = bertjob.submit(plan)          # submitted.job_id, submitted.run_dir
"""

from collections.abc import Iterable
from pathlib import Path

from bertjob.cluster.host.here import here
from bertjob.cluster.runs.create import new_run_dir
from bertjob.cluster.submit import Submitted
from bertjob.cluster.submit import submit as _submit
from bertjob.config import load
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.plan import Plan
from bertjob.launch.plan import plan as _plan
from bertjob.rundir.directory import RUNS


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


def submit(plan: Plan) -> Submitted:
    """Check the plan's files, write its run directory and submit it.

    Raises:
        PreflightError: a file is missing.
        SchedulerError: the scheduler refuses or is away; nothing is left behind.
        UncertainError: one of these, where the job may be queued all the same; its run directory stays.
    """
    return _submit(plan)
