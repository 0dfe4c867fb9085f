"""Slurm's commands: sbatch, scancel, and one squeue and one sacct call for any number of jobs.

squeue (the controller) is right about every job it still knows; a few minutes after a job's end it forgets it. sacct
(the accounting) remembers, but knows nothing for up to a second after sbatch, calls a job that is being requeued
NODE_FAIL or PREEMPTED for a while, and does not exist everywhere. Nobody's word means: unknown, never completed.
"""

import contextlib
import io
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

from msgspec.structs import replace

from bertjob.cluster import process
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import NOT_ASKED, UNKNOWN, Answer, JobInfo, JobState, Started
from bertjob.cluster.slurm import clusters, identity
from bertjob.errors import BertjobError, SchedulerError, UncertainError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import SUBMITTED
from bertjob.text import reason

_TIMEOUT_S = 60
"""Slurm's commands give up by themselves after 9 s when the controller is away; a hanging one is ended."""
_TIMED_OUT = frozenset({124, 137})
"""Exit codes of coreutils' timeout: it has ended the command, by TERM or by KILL."""
_LOOKS = 5
_LOOK_EVERY_S = 2.0
"""How often, and how long, the queue is searched for a job of which sbatch did not tell the id."""
_PATIENCE_S = 10
"""How long a person who cancels waits for the controller."""
_LONGEST_JOB_LIST = 1000
"""Jobs named one by one to squeue; the kernel takes 128 KiB an argument, so beyond this it is asked for the user's."""


_ANSWER = re.compile(r"(?:Submitted batch job )?([0-9]+(?:;[\w.-]+)?)", re.ASCII)
"""What ``sbatch --parsable`` says: the id and, where the job names clusters, the one that has it, as ``17;other``."""
_COMES_BACK = frozenset({JobState.NODE_FAIL, JobState.PREEMPTED})
"""What the accounting also says of a job that is being requeued."""
_OTHER_WORDS = {
    "configuring": JobState.PENDING,  # nodes are booting for it
    "requeued": JobState.PENDING,
    "requeue_fed": JobState.PENDING,
    "requeue_hold": JobState.PENDING,
    "resv_del_hold": JobState.PENDING,
    "special_exit": JobState.PENDING,
    "resizing": JobState.RUNNING,
    "signaling": JobState.RUNNING,
    "stopped": JobState.SUSPENDED,
    "stage_out": JobState.COMPLETING,
    "launch_failed": JobState.FAILED,
    "reconfig_fail": JobState.FAILED,
    "revoked": JobState.CANCELLED,
}


def submit(run_dir: RunDir) -> Started:
    """Hand the script of a run to sbatch, through submitit.

    Raises:
        SchedulerError: sbatch refused, in its own words; or it is not here, or the controller does not answer.
        UncertainError: sbatch did not end in time, and squeue does not tell whether there is a job of it.
    """
    for command in ("sbatch", "srun"):  # submitit wants both
        if shutil.which(command) is None:
            raise SchedulerError(f"there is no command {command} here: submit from a login node of the cluster")
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    # submitit keeps a copy of the script in its folder, which nobody needs afterwards.
    # It also prints what sbatch complained about, which is in its error and is said once, in our line.
    quiet = contextlib.redirect_stderr(io.StringIO())
    with tempfile.TemporaryDirectory(prefix="bertjob-") as folder, quiet:
        try:
            job: Any = _executor(folder, run_dir.script)._submit_command("")
        except FailedJobError as error:
            if isinstance(error.__cause__, CalledProcessError) and error.__cause__.returncode in _TIMED_OUT:
                return _queued_all_the_same(run_dir.script)
            raise SchedulerError(f"sbatch: {process.one_line(str(error)) or 'refused without a word'}") from None
        except FailedSubmissionError as error:
            raise SchedulerError(str(error).partition("\n")[0]) from None  # it told no job id
        job_id, _, cluster = str(job.job_id).partition(";")
        return Started(job_id, cluster.lower() or clusters.home())


def _executor(folder: str, path: Path) -> Any:
    from submitit.core.utils import FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    leftovers = [f"--unset={name}" for name in os.environ if process.leftover(name)]

    class ScriptExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit is imported late, untyped
        """Submits the run's own script, in a clean environment, in place of one that submitit makes."""

        def _make_submission_file_text(self, command: str, uid: str) -> str:
            return path.read_text(encoding="utf-8", errors="replace")  # of which sbatch gets the original

        def _make_submission_command(self, submission_file_path: Path) -> list[str]:
            # A process group of its own, which timeout makes: Ctrl-C must not end sbatch between the queue and its id.
            limit = ("timeout", "--kill-after=5", f"{_TIMEOUT_S}")
            return ["env", *leftovers, f"{SUBMITTED}={path.parent}", *limit, "sbatch", "--parsable", str(path)]

        @staticmethod
        def _get_job_id_from_submission_command(string: bytes | str) -> str:
            text = string if isinstance(string, str) else string.decode(errors="replace")
            for line in reversed(text.splitlines()):
                if found := _ANSWER.fullmatch(line.strip()):
                    return found[1]
            raise FailedSubmissionError(f"sbatch told no job id: {process.one_line(text)}")

    return ScriptExecutor(folder)


def _queued_all_the_same(script: Path) -> Started:
    """The job of a script whose sbatch was ended before it told.

    Raises:
        SchedulerError: the queue has no such job.
        UncertainError: the queue cannot be asked.
    """
    said = f"sbatch: no answer within {_TIMEOUT_S} s"
    where = clusters.asked_for(script.read_text(encoding="utf-8", errors="replace"))
    for _ in range(_LOOKS):
        time.sleep(_LOOK_EVERY_S)
        for cluster in where:
            words = ("squeue", *clusters.option(cluster), "--noheader", f"--user={os.getuid()}", "--format=%i|%o")
            reply = process.ask(*words, timeout=_TIMEOUT_S)
            if reply.error:
                raise UncertainError(
                    f"{said}, and squeue: {reply.error}: if squeue shows the job later, it runs in {script.parent};"
                    " otherwise submit again with this --run-dir"
                )
            jobs = (line.split("|", 1) for line in reply.output.splitlines())
            if ids := [job[0] for job in jobs if job[1:] == [str(script)]]:
                return Started(ids[-1], cluster or clusters.home())
    raise SchedulerError(f"{said}, and squeue has no job of it")


def query(runs: Collection[Run]) -> Answer:
    """Where the jobs of runs stand by one squeue and one sacct call for each cluster, made at the same time.

    Without runs nobody is asked. Never raises: a command that is missing, disabled or away is a line in the answer.
    """
    return _query(runs, _TIMEOUT_S)


def _query(runs: Collection[Run], timeout: float) -> Answer:
    options = {cluster: clusters.option(cluster) for cluster in {run.submission.cluster for run in runs}}
    by_cluster: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_cluster.setdefault(options[run.submission.cluster], []).append(run)
    clean = clusters.environment()
    asked = []
    for where, some in by_cluster.items():
        ids = sorted({run.submission.job_id for run in some})
        asked.append((where, some, [process.start(words(ids, where), clean) for words in (_squeue, _sacct)]))
    jobs: dict[str, JobInfo] = {}
    controllers, accountings = [], []
    for where, some, started in asked:
        queue, accounting = (process.finish(one, timeout) for one in started)
        # The exception is squeue's way to say of a single job that it does not know it.
        away = "" if "Invalid job id specified" in queue.error else queue.error
        known = combine(parse_squeue(queue.output), parse_sacct(accounting.output), controller_answered=not away)
        seen = identity.seen_by_sacct(accounting.output) | identity.seen_by_squeue(queue.output)
        for run in some:
            number = run.submission.job_id
            if number in known:
                jobs[run.path] = _of(run, known[number], seen.get(number))
            elif len(by_cluster) > 1:
                jobs[run.path] = NOT_ASKED if away else UNKNOWN
        at = " ".join(("", *where))
        controllers.append(f"squeue{at}: {away}" if away else "")
        accountings.append(f"sacct{at}: {accounting.error}" if accounting.error not in ("", away) else "")
    return Answer(jobs, "; ".join(filter(None, controllers)), "; ".join(filter(None, accountings)))


def _of(run: Run, info: JobInfo, seen: identity.Seen | None) -> JobInfo:
    """What is known of a run's job, if this is it, and not another one of its number."""
    if seen is None or identity.is_of(run, seen):
        return info
    # Slurm never changes the command of a job. Its name may be changed, and that of the run's job may be.
    gone = bool(run.submission.script and seen.command)
    # Without a cluster, the run's may well be that of this number on another one.
    asked = bool(run.submission.cluster)
    return JobInfo(JobState.UNKNOWN, asked=asked, gone=gone, stranger=identity.description(run, seen))


def combine(
    queued: Mapping[str, JobInfo], accounted: Mapping[str, JobInfo], *, controller_answered: bool
) -> dict[str, JobInfo]:
    """What is known of each job: squeue's word where it has one, else sacct's where that can be trusted.

    The accounting's "running" of a job that the controller does not know is a record nobody closed; its NODE_FAIL or
    PREEMPTED is final only when a controller that answers does not have the job back in its queue.
    """
    jobs = {
        job_id: replace(info, signal=accounted[job_id].signal) if info.state.ended and job_id in accounted else info
        for job_id, info in queued.items()
    }
    for job_id, info in accounted.items():
        untrue = info.state.live if controller_answered else info.state in _COMES_BACK
        if job_id not in jobs and not untrue:
            jobs[job_id] = replace(info, confirmed=not info.state.live)
    return jobs


def parse_squeue(output: str) -> dict[str, JobInfo]:
    """Jobs by id from lines of ``id|state|nodes|reason``, and whose they are; other lines are passed over."""
    jobs = {}
    for line in output.splitlines():
        fields = line.split("|", 3)
        if len(fields) == 4:
            job_id, state, nodes, rest = fields
            reason = rest.partition(identity.SEPARATOR)[0]
            jobs[job_id] = JobInfo(read_state(state), nodes, "" if reason == "None" else reason)
    return jobs


def parse_sacct(output: str) -> dict[str, JobInfo]:
    """Jobs by id from lines of ``id|state|nodes|code:signal`` and more; as in ``CANCELLED by 0``, so may a state."""
    jobs = {}
    for line in output.splitlines():
        fields = line.split("|", 4)
        if len(fields) >= 4:
            job_id, state, nodes, ended = fields[:4]
            by = ended.partition(":")[2]
            jobs[job_id] = JobInfo(
                read_state(state),
                "" if nodes == "None assigned" else nodes,
                signal=int(by) if by.isdecimal() and read_state(state) is JobState.FAILED else 0,
            )
    return jobs


@cache
def read_state(word: str) -> JobState:
    """A state from Slurm's word; words of other versions are unknown."""
    name = word.partition(" ")[0].rstrip("+").lower()
    if name in _OTHER_WORDS:
        return _OTHER_WORDS[name]
    try:
        return JobState(name)
    except ValueError:
        return JobState.UNKNOWN


def cancel(runs: Collection[Run], *, at_once: bool) -> None:
    """Cancel the jobs of runs; those that have ended are passed over, and so are jobs of others with their numbers.

    Args:
        runs: the runs.
        at_once: end them. Otherwise those that run are asked to stop, with a checkpoint.

    Raises:
        SchedulerError: scancel refused or the controller is away, in Slurm's words; or the job that has the number of a
            run's is another one, which is left alone.
        BertjobError: a run directory cannot be written, so its job would not know that it was cancelled.
    """
    answer = _query(runs, _PATIENCE_S)
    if answer.controller:
        raise SchedulerError(answer.controller)
    theirs = [run for run in runs if not answer.job(run).stranger]
    running = [run for run in theirs if answer.job(run).state is JobState.RUNNING and not at_once]
    stopping = [run for run in running if _asked_to_stop(run)]
    others: dict[tuple[str, ...], list[str]] = {}
    for run in theirs:
        if run not in stopping:
            others.setdefault(clusters.option(run.submission.cluster), []).append(run.submission.job_id)
    for where, ids in others.items():
        _scancel(*where, *ids)
    if strangers := [f"{run.name}: {told}" for run in runs if (told := answer.job(run).stranger)]:
        raise SchedulerError(f"not cancelled: {'; '.join(strangers)}")


def _asked_to_stop(run: Run) -> bool:
    """Whether TERM went to the script of a running job alone, which leaves the ranks the time for a checkpoint.

    The mark comes first, as a requeue and a preemption send TERM as well. Each job has a call of its own, for one that
    fails says nothing of the others.
    """
    job_id = run.submission.job_id
    mark = run.run_dir.cancellation(job_id)
    try:
        mark.write_text(f"{socket.gethostname()} {time.time():.0f}\n")
    except (FileNotFoundError, NotADirectoryError):  # the folder is gone, and with it what a checkpoint were good for
        return False
    except OSError as error:
        said = reason(error).lower()
        raise BertjobError(f"{mark}: {said}: the job would start again; `bertjob cancel --now` ends it") from None
    try:
        _scancel(*clusters.option(run.submission.cluster), "--batch", "--signal=TERM", job_id)
    except SchedulerError:  # it has ended meanwhile, or its script has not begun
        return False
    return True


def _scancel(*words: str) -> None:
    if error := process.ask("scancel", *words, timeout=_TIMEOUT_S, environment=clusters.environment()).error:
        raise SchedulerError(f"scancel: {error}")


def _squeue(ids: Sequence[str], where: tuple[str, ...]) -> list[str]:
    which = f"--jobs={','.join(ids)}" if len(ids) <= _LONGEST_JOB_LIST else f"--user={os.getuid()}"
    return ["squeue", *where, "--noheader", "--states=all", which, f"--format=%i|%T|%N|%r{identity.SQUEUE}"]


def _sacct(ids: Sequence[str], where: tuple[str, ...]) -> list[str]:
    parts = (ids[first : first + _LONGEST_JOB_LIST] for first in range(0, len(ids), _LONGEST_JOB_LIST))
    which = [f"--jobs={','.join(part)}" for part in parts]  # sacct adds them up
    fields = f"--format=JobIDRaw,State,NodeList,ExitCode,{identity.SACCT}"
    return ["sacct", *where, "--allocations", "--noheader", "--parsable2", *which, fields]
