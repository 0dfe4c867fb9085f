"""One rank that has met the others: what a task is given to do its work."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from bertjob.config.job import Job
from bertjob.rundir.directory import RunDir
from bertjob.train.distributed import mpi
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.distributed.watchdog import Watch
from bertjob.train.keeper import Keeper
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
        keeper: this rank's; on rank 0 it keeps the lease.
        report: this rank's.
        mpi: the MPI library; empty in a job without MPI.
        doubt: why MPI may not connect the ranks of these nodes; empty where nothing speaks for it.
        transport: what the ranks talk over; empty where nothing tells it.
    """

    job: Job
    run_dir: RunDir
    ranks: Ranks
    device: torch.device
    here: str
    watch: Watch
    keeper: Keeper
    report: Report
    mpi: str
    doubt: str = ""
    transport: str = ""

    def part(self) -> None:
        """Let no rank leave while another may still need it."""
        self.watch.stop()
        self.ranks.barrier()
        self.watch.parted()
        if self.mpi:
            mpi.leave()


@dataclass(frozen=True)
class Work:
    """What a rank does once it has met the others.

    Attributes:
        is_finished: whether nothing is left to do in a run directory; called by rank 0.
        run: do it and return the exit code; called by all ranks.
    """

    is_finished: Callable[[RunDir, Job], bool]
    run: Callable[[Start], int]
