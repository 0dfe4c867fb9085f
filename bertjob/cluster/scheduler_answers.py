"""What schedulers answer, in the same words for each of them: where jobs stand, and which nodes there are."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from bertjob.launch.pmi import offers

if TYPE_CHECKING:  # the catalog reads the index of runs, which those who ask for facts need not
    from bertjob.cluster.runs.catalog import Run


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


class JobInfo(msgspec.Struct, frozen=True):
    """What the scheduler says about one job."""

    state: JobState
    nodes: str = ""
    """Its nodes as the scheduler writes them, e.g. ``nid[00001-00004]``; empty while it waits."""
    reason: str = ""
    """Why it waits or failed, in the scheduler's word, e.g. ``Resources``; empty when there is none."""
    asked: bool = True
    """Of an unknown job: the scheduler answered, and does not know it. Otherwise it could not be asked."""
    confirmed: bool = True
    """The queue says so. Otherwise it is the accounting's record of a live job, which may be over by now."""
    signal: int = 0
    """The signal that ended its script; 0: none did, or nobody tells."""
    gone: bool = False
    """Of an unknown job: it certainly neither waits nor runs; only how it ended is not known."""
    stranger: str = ""
    """Of an unknown job: whose the job is that has its number here. Nothing may be done to that one."""


UNKNOWN = JobInfo(JobState.UNKNOWN)
NOT_ASKED = JobInfo(JobState.UNKNOWN, asked=False)
GONE = JobInfo(JobState.UNKNOWN, gone=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What schedulers said about the jobs of runs.

    Attributes:
        jobs: by the paths of the runs; use `job`.
        controller: the command that knows the queue and gave no answer, and why; empty when it did.
        accounting: the command that knows ended jobs and gave no answer, and why; empty when it did.
    """

    jobs: Mapping[str, JobInfo] = field(default_factory=dict)
    controller: str = ""
    accounting: str = ""

    def job(self, run: "Run") -> JobInfo:
        """What is known about the job of a run; its state is unknown when that is nothing."""
        return self.jobs.get(run.path, NOT_ASKED if self.controller else UNKNOWN)

    def updated(self, newer: "Answer") -> "Answer":
        """The same with what another answer says of some of the jobs."""
        return Answer({**self.jobs, **newer.jobs}, self.controller, self.accounting)


@dataclass(frozen=True, slots=True)
class Started:
    """A script that a scheduler has taken."""

    job_id: str
    cluster: str = ""
    """Name of the cluster whose scheduler gave this id; empty where it does not tell."""
    process: subprocess.Popen[bytes] | None = None
    """The process that runs it, where that is a child of this one."""


class NodeGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes of one partition that are alike."""

    partition: str
    cluster: str = ""
    """Its cluster, where others than that of this machine were asked."""
    default: bool = False
    up: bool = True
    time: str | None = None
    """Walltime at most, in Slurm's form; None: no limit."""
    most_nodes: int | None = None
    """Nodes a job at most; None: no limit."""
    nodes: int
    idle: int = 0
    cpus: int
    cores: int = 0
    """CPU cores a node, of which each may count as several CPUs; 0: not known."""
    memory: int = 0
    """MB a node."""
    gpus: int = 0
    gpu: str = ""
    """What the site calls its GPUs, e.g. ``a100``; empty where it gives them no name."""
    features: tuple[str, ...] = ()
    more: bool = False
    """Some of the nodes have more CPUs or memory than these numbers."""


class SchedulerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A scheduler as it is seen from this machine.

    Attributes:
        installed: its commands are here.
        error: why it cannot be asked; empty when it can.
        version: as in ``22.05.8``; empty when not even its commands say it.
        settings: its configuration, in its own words; empty when it cannot be asked.
        groups: partitions and their nodes.
        mpi_types: what ``srun --mpi=list`` names, e.g. none, pmi2, pmix, pmix_v4.
        mpi_broken: what it names too, and which starts nothing, with the reason.
        clock: seconds by which its clock is ahead of this machine's; None: not known.
    """

    installed: bool = False
    error: str = ""
    version: str = ""
    settings: Mapping[str, str] = {}
    groups: tuple[NodeGroup, ...] = ()
    mpi_types: tuple[str, ...] = ()
    mpi_broken: Mapping[str, str] = {}
    clock: float | None = None

    @property
    def cluster(self) -> str:
        """Slurm's ClusterName."""
        return self.settings.get("ClusterName", "")

    def offers(self, kind: str) -> bool:
        """Whether ``srun --mpi=KIND`` works: ``pmix_v4`` is a ``pmix``."""
        return offers(self.mpi_types, kind)

    @property
    def release(self) -> tuple[int, int] | None:
        """Year and month, which is what Slurm calls a major release."""
        match = re.match(r"(\d+)\.(\d+)", self.version)
        return (int(match[1]), int(match[2])) if match else None
