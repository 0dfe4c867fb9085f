"""One rank that has met the others: what a task is given to do its work."""

from dataclasses import dataclass
from typing import Protocol

import torch

from bertjob.config.job import Job
from bertjob.rundir.directory import RunDir
from bertjob.train.distributed import mpi
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.distributed.watchdog import Watch
from bertjob.train.reporting.report import Report


@dataclass(frozen=True)
class Start:
    """One start of a run, seen from one rank.

    Attributes:
        job: the resolved job.
        run_dir: where its files are.
        ranks: all ranks.
        device: what this rank computes on.
        here: host and device in words.
        watch: this rank's.
        report: this rank's.
        mpi: the MPI library; empty in a job without MPI.
        transport: what the ranks talk over; empty where nothing tells it.
    """

    job: Job
    run_dir: RunDir
    ranks: Ranks
    device: torch.device
    here: str
    watch: Watch
    report: Report
    mpi: str
    transport: str = ""

    def part(self) -> None:
        """Let no rank leave while another may still need it."""
        self.watch.stop()
        self.ranks.barrier()
        if self.mpi:
            mpi.leave()


class Work(Protocol):
    """A module that does what a task is."""

    def is_finished(self, run_dir: RunDir, job: Job) -> bool:
        """Whether nothing is left to do."""

    def run(self, start: Start) -> int:
        """Do it; called by all ranks. Returns the exit code."""
