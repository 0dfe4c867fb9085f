"""The jobs of a run's script in the queue, of which nobody has told the id.

The path of the script names its job; where a wrapper hands on a copy of it, or pipes it, that of its log does, which
stands in the script.
"""

import os
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from bertjob.cluster import process
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import Started
from bertjob.cluster.slurm import clusters
from bertjob.config.load import read_job
from bertjob.errors import BertjobError
from bertjob.launch.schedulers import sbatch_options
from bertjob.rundir.directory import RunDir
from bertjob.rundir.submissions import every

_TIMEOUT_S = 60
"""squeue gives up by itself after 9 s when the controller is away; one that hangs is ended."""
_CLOCKS_S = 600
"""By how much the clocks of controller and login node may differ. A job of this script that is older is another's."""
_ANYWHERE_S = 15
_LIVE = "--states=PENDING,RUNNING,SUSPENDED,COMPLETING"
_OF_USER = (f"--user={os.getuid()}", "--format=%A|%V|%o")
_CLUSTER = "CLUSTER: "
"""Before the jobs of each cluster, where squeue prints headers (22.05)."""
_LONGEST_PATH = 4096
_LOG_FORMAT = f"--Format=JobID:20,StdOut:{_LONGEST_PATH}"


def find(run_dir: RunDir) -> tuple[Started | None, str]:
    """The job of a run's script in the queue that bertjob has not recorded, and why the queue does not tell.

    Returns:
        The job, None where there is none, and an error, empty where squeue answers.
    """
    earlier = on_disk(run_dir)
    error, jobs = of_user(run_dir, 0.0, _LIVE)
    job_id = of_run(run_dir, jobs, earlier)
    if not job_id:
        elsewhere = on_any_cluster(run_dir, 0.0, earlier, _LIVE)
        return elsewhere, f"squeue: {error}" if error and elsewhere is None else ""
    named = _named(run_dir)
    return Started(job_id, cluster="" if len(named) > 1 else named[0].lower() if named else clusters.home()), ""


def on_disk(run_dir: RunDir) -> set[str]:
    """Ids of the jobs that are recorded in the run directory, or have left a log there."""
    logs = {path.stem for path in run_dir.logs.glob("*.out") if path.stem.isdecimal()}
    return logs | {said.job_id for said in every(run_dir) if said.job_id.isdecimal()}


def of_user(run_dir: RunDir, since: float, states: str = "--states=all") -> tuple[str, dict[str, str]]:
    """Why there is no answer; and the scripts of this user's jobs since about `since`, by their ids.

    A script that came through a pipe is ``(null)``.
    """
    reply = _squeue("--noheader", states, *_clusters(run_dir), *_OF_USER)
    return reply.error, dict(job for line in reply.output.splitlines() if (job := _job(line, since)))


def of_run(run_dir: RunDir, jobs: Mapping[str, str], earlier: Collection[str]) -> str:
    """The id of the newest job of the run's script that is not an earlier one; empty where there is none.

    A wrapper may hand on a copy of the script, or pipe it: then the path of the log, which is in it, tells.
    """
    new = {job_id: command for job_id, command in jobs.items() if job_id not in earlier}
    found = [job_id for job_id, command in new.items() if command == str(run_dir.script)]
    if not found and new:
        reply = _squeue("--noheader", "--states=all", f"--jobs={','.join(new)}", *_clusters(run_dir), _LOG_FORMAT)
        logs = (line.split(maxsplit=1) for line in reply.output.splitlines())
        found = [line[0] for line in logs if len(line) > 1 and line[0] in new and _is_log(run_dir, *line)]
    return max(found, key=int, default="")


def writes_log_of(run: Run, where: tuple[str, ...]) -> bool:
    """Whether the job that has the number of a run's writes the run's log.

    Args:
        run: the run.
        where: option of squeue that names the cluster of its job, if that is another one.
    """
    job_id = run.submission.job_id
    reply = _squeue(*where, "--noheader", "--states=all", f"--jobs={job_id}", _LOG_FORMAT)
    lines = (line.split(maxsplit=1) for line in reply.output.splitlines())
    return any(len(line) > 1 and line[0] == job_id and _is_log(run.run_dir, *line) for line in lines)


def on_any_cluster(
    run_dir: RunDir, since: float, earlier: Collection[str], states: str = "--states=all"
) -> Started | None:
    """The newest job of the run's script on any cluster: a wrapper of the site may aim at one that nobody has named.

    None also where nobody tells; without slurmdbd Slurm knows no other clusters.
    """
    if _named(run_dir):
        return None
    found, cluster = [], ""
    for line in _squeue("--clusters=all", states, *_OF_USER, timeout=_ANYWHERE_S).output.splitlines():
        if line.startswith(_CLUSTER):
            cluster = line.removeprefix(_CLUSTER).strip().lower()
        elif cluster and (job := _job(line, since)) and job[1] == str(run_dir.script) and job[0] not in earlier:
            found.append(Started(job[0], cluster=cluster))
    return max(found, key=lambda one: int(one.job_id), default=None)


def _job(line: str, since: float) -> tuple[str, str] | None:
    """Id and script of a line of squeue; None for other lines, and for jobs that are older."""
    fields = line.split("|", 2)
    is_one = len(fields) == 3 and fields[0].isdecimal() and _time(fields[1]) >= since - _CLOCKS_S
    return (fields[0], fields[2]) if is_one else None


def _is_log(run_dir: RunDir, job_id: str, path: str) -> bool:
    escaped = RunDir(Path(str(run_dir.path).replace("%", "%%")))  # as the script has it; newer versions fill it in
    return path.strip() in (str(escaped.log("%j")), str(run_dir.log(job_id)))


def _squeue(*words: str, timeout: float = _TIMEOUT_S) -> process.Reply:
    return process.ask("squeue", *words, timeout=timeout, environment={**clusters.environment(), "TZ": "UTC0"})


def _time(text: str) -> float:
    """Seconds since the epoch, of a time as squeue prints it; now where it prints another form."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return time.time()


def _clusters(run_dir: RunDir) -> tuple[str, ...]:
    """The option that asks the clusters at which the job was aimed."""
    named = _named(run_dir)
    return (f"--clusters={','.join(named)}",) if named else ()


def _named(run_dir: RunDir) -> list[str]:
    try:
        return sbatch_options.clusters(read_job(run_dir.job).resources.sbatch)
    except (OSError, BertjobError):
        return []
