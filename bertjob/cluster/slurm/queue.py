"""Slurm's commands: scancel, and one squeue and one sacct call for any number of jobs.

squeue (the controller) is right about every job it still knows; a few minutes after a job's end it forgets it. sacct
(the accounting) remembers, but knows nothing for up to a second after sbatch, calls a job that is being requeued
NODE_FAIL or PREEMPTED for a while, and does not exist everywhere. Nobody's word means: unknown, never completed.
"""

import contextlib
import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache

from msgspec.structs import replace

from bertjob.cluster import process
from bertjob.cluster.process import deferred_interrupt
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import NOT_ASKED, UNKNOWN, Answer, JobInfo, JobState
from bertjob.cluster.slurm import clusters, identity, own_jobs
from bertjob.errors import BertjobError, SchedulerError
from bertjob.text import reason

_TIMEOUT_S = 60
"""Slurm's commands give up by themselves after 9 s when the controller is away; a hanging one is ended."""
_PATIENCE_S = 10
"""How long a person who cancels waits for the controller."""
_READ_S = 0.5
"""To read what a command has said meanwhile, while another one was waited for."""
_HOLD_S = 30
"""How long scontrol may take to hold a job; it gives up by itself after some 9 s when the controller is away."""
_HELD = "JobHeld"
"""Beginning of the reason of a held job: JobHeldUser, JobHeldAdmin (man squeue)."""
_OVER = ("Invalid job id specified", "already completing or completed", "already finished")
"""What scancel complains about where a job has ended (slurm_errno.c, 22.05 to 24.11)."""
_NOT_BEGUN = "can not be altered now"
"""And where the script of a job has not begun, so that there is no checkpoint to wait for."""
_LONGEST_JOB_LIST = 1000
"""Jobs named one by one to squeue; the kernel takes 128 KiB an argument, so beyond this it is asked for the user's."""


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


def query(runs: Collection[Run], patience: float | None = None) -> Answer:
    """Where the jobs of runs stand by one squeue and one sacct call for each cluster, made at the same time.

    Without runs nobody is asked. Never raises: a command that is missing, disabled or away is a line in the answer, and
    so is one that has not answered after `patience` seconds, which count for all of them together.
    """
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
    patience = _TIMEOUT_S if patience is None else patience
    deadline, least = time.monotonic() + patience, min(patience, _READ_S)
    for where, some, started in asked:
        queue, accounting = (process.finish(one, max(least, deadline - time.monotonic())) for one in started)
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
    # A wrapper may have handed on a copy of the script, or given it arguments: then the log tells.
    own = seen.command and seen.uid == str(run.submission.uid)
    if own and own_jobs.writes_log_of(run, clusters.option(run.submission.cluster)):
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
    answer = query(runs, _PATIENCE_S)
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
    where = clusters.option(run.submission.cluster)
    reply = _ask("scancel", *where, "--batch", "--signal=TERM", job_id)
    if doubt := _refusal(reply, *_OVER, _NOT_BEGUN):  # it may have got the signal, so it is not killed
        mark.unlink(missing_ok=True)
        raise SchedulerError(f"scancel: {doubt}: `bertjob cancel` asks again")
    return not reply.error


def _scancel(*words: str) -> None:
    if error := _refusal(_ask("scancel", *words), *_OVER):
        raise SchedulerError(f"scancel: {error}")


def _ask(*words: str, timeout: float = _TIMEOUT_S) -> process.Reply:
    return process.ask(*words, timeout=timeout, environment=clusters.environment())


def _refusal(reply: process.Reply, *harmless: str) -> str:
    """What scancel has not done, whatever its exit code says: in 22.05 it is 0 where a job cannot be cancelled."""
    lines = [line for line in reply.complaint.splitlines() if line.strip()]
    told = process.one_line("\n".join(line for line in lines if not any(word in line for word in harmless)))
    return told or ("" if lines else reply.error)


def withdraw(run: Run) -> bool:
    """Cancel a run's job that has not started.

    scancel asks for the state and then cancels, and the job may start in between. A hold is the controller's own doing:
    what it shows as pending and held then does not start, whatever is decided next.

    Returns:
        Whether it was cancelled; False: it has started, or is over.

    Raises:
        SchedulerError: Slurm does not tell, or another job has the number by now; the job stays as it was.
    """
    if told := query([run]).job(run).stranger:
        raise SchedulerError(f"not cancelled: {run.name}: {told}")
    with deferred_interrupt():  # nobody would release it
        held = _scontrol("hold", run)
        try:
            info = (answer := query([run])).job(run)
            if answer.controller:
                raise SchedulerError(answer.controller)
            if info.state.live and info.state is not JobState.PENDING:
                _release(run)  # else a requeue would find it held (Slurm 22.05)
                return False
            if info.state.ended:
                return False
            if info.state is not JobState.PENDING or not info.reason.startswith(_HELD):
                raise SchedulerError(held or f"job {run.submission.job_id} cannot be held")
            cancel([run], at_once=True)
        except SchedulerError:
            _release(run)
            raise
        return True


def _release(run: Run) -> None:
    with contextlib.suppress(SchedulerError):
        _scontrol("release", run)


def _scontrol(verb: str, run: Run) -> str:
    """Why it did not do it; empty when it did."""
    said = run.submission
    reply = _ask("scontrol", *clusters.option(said.cluster), verb, said.job_id, timeout=_HOLD_S)
    return f"scontrol {verb}: {process.one_line(reply.text)}" if reply.error else ""


def _squeue(ids: Sequence[str], where: tuple[str, ...]) -> list[str]:
    which = f"--jobs={','.join(ids)}" if len(ids) <= _LONGEST_JOB_LIST else f"--user={os.getuid()}"
    return ["squeue", *where, "--noheader", "--states=all", which, f"--format=%i|%T|%N|%r{identity.SQUEUE}"]


def _sacct(ids: Sequence[str], where: tuple[str, ...]) -> list[str]:
    parts = (ids[first : first + _LONGEST_JOB_LIST] for first in range(0, len(ids), _LONGEST_JOB_LIST))
    which = [f"--jobs={','.join(part)}" for part in parts]  # sacct adds them up
    fields = f"--format=JobIDRaw,State,NodeList,ExitCode,{identity.SACCT}"
    return ["sacct", *where, "--allocations", "--noheader", "--parsable2", *which, fields]
