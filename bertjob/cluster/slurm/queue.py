"""Slurm's commands: one squeue and one sacct call for any number of jobs, and what they say about each.

squeue (the controller) is right about every job it still knows; a few minutes after a job's end it forgets it. sacct
(the accounting) remembers, but knows nothing for up to a second after sbatch, calls a job that is being requeued
NODE_FAIL or PREEMPTED for a while, and does not exist everywhere. Nobody's word means: unknown, never completed.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache

import msgspec

from bertjob.cluster import process
from bertjob.errors import SchedulerError

_TIMEOUT_S = 60
"""Slurm's commands give up by themselves after 9 s when the controller is away; a hanging one is ended."""
_LONGEST_JOB_LIST = 1000
"""Jobs named one by one to squeue; the kernel takes 128 KiB an argument, so beyond this it is asked for the user's."""


class JobState(StrEnum):
    """Where the scheduler says a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETING = "completing"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    OUT_OF_MEMORY = "out_of_memory"
    DEADLINE = "deadline"
    BOOT_FAIL = "boot_fail"
    UNKNOWN = "unknown"

    @property
    def live(self) -> bool:
        """The job waits or runs."""
        return self in LIVE

    @property
    def ended(self) -> bool:
        """The job is over; unknown is neither live nor ended."""
        return not self.live and self is not JobState.UNKNOWN


LIVE = frozenset({JobState.PENDING, JobState.RUNNING, JobState.COMPLETING, JobState.SUSPENDED})
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


class JobInfo(msgspec.Struct, frozen=True):
    """What the scheduler says about one job."""

    state: JobState
    nodes: str = ""
    """Its nodes as Slurm writes them, e.g. ``nid[00001-00004]``; empty while it waits."""
    reason: str = ""
    """Why it waits or failed, in Slurm's word, e.g. ``Resources``; empty when there is none."""


UNKNOWN = JobInfo(JobState.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Answer:
    """What squeue and sacct said, combined.

    Attributes:
        jobs: only jobs that one of them knows; use `job`.
        controller: why squeue gave no answer; empty when it did.
        accounting: why sacct gave no answer; empty when it did.
    """

    jobs: Mapping[str, JobInfo] = field(default_factory=dict)
    controller: str = ""
    accounting: str = ""

    def job(self, job_id: str) -> JobInfo:
        """What is known about a job; its state is unknown when that is nothing."""
        return self.jobs.get(job_id, UNKNOWN)


def ask(job_ids: Collection[str]) -> Answer:
    """The state of jobs by one squeue and one sacct call, made at the same time; none when there are no jobs.

    Never raises: a command that is missing, disabled or away is a line in the answer.
    """
    if not job_ids:
        return Answer()
    ids = sorted(job_ids)
    clean = process.clean_environment(os.environ)
    asked = [process.start(words, clean) for words in (_squeue(ids), _sacct(ids))]
    queue, accounting = (process.finish(started, _TIMEOUT_S) for started in asked)
    # The exception is squeue's way to say of a single job that it does not know it.
    away = "" if "Invalid job id specified" in queue.error else queue.error
    jobs = combine(parse_squeue(queue.output), parse_sacct(accounting.output), controller_answered=not away)
    return Answer(jobs, away, accounting.error)


def combine(
    queued: Mapping[str, JobInfo], accounted: Mapping[str, JobInfo], *, controller_answered: bool
) -> dict[str, JobInfo]:
    """What is known of each job: squeue's word where it has one, else sacct's where that can be trusted.

    The accounting's "running" of a job that the controller does not know is a record nobody closed; its NODE_FAIL or
    PREEMPTED is final only when a controller that answers does not have the job back in its queue.
    """
    jobs = dict(queued)
    for job_id, info in accounted.items():
        untrue = info.state.live if controller_answered else info.state in _COMES_BACK
        if job_id not in jobs and not untrue:
            jobs[job_id] = info
    return jobs


def parse_squeue(output: str) -> dict[str, JobInfo]:
    """Jobs by id from lines of ``id|state|nodes|reason``; lines of another form are passed over."""
    jobs = {}
    for line in output.splitlines():
        fields = line.split("|", 3)
        if len(fields) == 4:
            job_id, state, nodes, reason = fields
            jobs[job_id] = JobInfo(read_state(state), nodes, "" if reason == "None" else reason)
    return jobs


def parse_sacct(output: str) -> dict[str, JobInfo]:
    """Jobs by id from lines of ``id|state|nodes``; a state may carry more words, as in ``CANCELLED by 0``."""
    jobs = {}
    for line in output.splitlines():
        fields = line.split("|")
        if len(fields) == 3:
            job_id, state, nodes = fields
            jobs[job_id] = JobInfo(read_state(state), "" if nodes == "None assigned" else nodes)
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


def cancel(job_ids: Sequence[str]) -> None:
    """Cancel jobs by one scancel call; those that have ended are passed over.

    Raises:
        SchedulerError: scancel refused or the controller is away, in Slurm's words.
    """
    _scancel(*job_ids)


def stop(job_id: str) -> None:
    """Ask a running job to stop by TERM to its script alone, which leaves the ranks the time for a checkpoint.

    Raises:
        SchedulerError: scancel refused, as where the job does not run (any more), or the controller is away.
    """
    _scancel("--batch", "--signal=TERM", job_id)


def _scancel(*words: str) -> None:
    if error := process.ask("scancel", *words, timeout=_TIMEOUT_S).error:
        raise SchedulerError(f"scancel: {error}")


def _squeue(ids: Sequence[str]) -> list[str]:
    which = f"--jobs={','.join(ids)}" if len(ids) <= _LONGEST_JOB_LIST else f"--user={os.getuid()}"
    return ["squeue", "--noheader", "--states=all", which, "--format=%i|%T|%N|%r"]


def _sacct(ids: Sequence[str]) -> list[str]:
    parts = (ids[first : first + _LONGEST_JOB_LIST] for first in range(0, len(ids), _LONGEST_JOB_LIST))
    which = [f"--jobs={','.join(part)}" for part in parts]  # sacct adds them up
    return ["sacct", "--allocations", "--noheader", "--parsable2", *which, "--format=JobIDRaw,State,NodeList"]
