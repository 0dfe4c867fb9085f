"""Faults to inject into the ranks of run_ranks: each is called in a rank's process before it starts."""

import os
import pickle
import resource
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from strangers import Code
from torch import Tensor, nn

from bertjob.config.job import Job
from bertjob.config.registry.tasks import TASKS
from bertjob.rundir import lease
from bertjob.rundir.held_run import HeldRun
from bertjob.train.data.batch import Batch
from bertjob.train.distributed import pulse, ranks, transport, watchdog
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.tasks.squad.task import SquadTask


class _SlowSteps(SquadTask):
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        time.sleep(0.02)
        return super().loss(model, batch)


class _SlowAnswers(SquadTask):
    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        time.sleep(60)
        return {}


class _SlowFeatures(SquadTask):
    @classmethod
    def from_job(cls, job: Job, held: HeldRun, ranks: Ranks, device: object) -> SquadTask:
        if ranks.first:
            time.sleep(60)
        ranks.barrier()
        raise AssertionError("nobody comes here")


class _NotANumber(SquadTask):
    calls = 0

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        _NotANumber.calls += 1
        return super().loss(model, batch) * (float("nan") if _NotANumber.calls > 20 else 1.0)


class _Broken(SquadTask):
    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        raise ValueError("this rank is broken\nin two lines")


def _replace(task: type[SquadTask]) -> None:
    """Another class is the code of the task `squad`."""
    TASKS["squad"] = msgspec.structs.replace(TASKS["squad"], code=f"{__name__}:{task.__name__}")


def slow_steps(rank: int) -> None:
    """A step takes a tenth of a second."""
    _replace(_SlowSteps)


def quick_pulse(rank: int) -> None:
    """Slow steps, and a rank counts as lost after three seconds without a sign of life, where it is a minute."""
    _replace(_SlowSteps)
    pulse.LOOK_SECONDS = watchdog.LOOK_SECONDS = 0.25


def slow_answers(rank: int) -> None:
    """The evaluation takes a minute."""
    _replace(_SlowAnswers)


def slow_features(rank: int) -> None:
    """Rank 0 makes features for a minute, the others wait for it."""

    _replace(_SlowFeatures)


def not_a_number(rank: int) -> None:
    """The loss of the sixth step is not a number."""
    _replace(_NotANumber)


def broken_rank_1(rank: int) -> None:
    """Rank 1 raises in its first step."""
    if rank == 1:
        _replace(_Broken)


def small_files_rank_1(rank: int) -> None:
    """Rank 1 cannot write files beyond 8 kB."""
    if rank == 1:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def nccl_fell_back(rank: int) -> None:
    """What NCCL says where it finds nothing better, in place of what gloo says."""
    transport._of_gloo = lambda env: transport.Transport("NCCL 2.27.5", "NET/Socket", ("eth0",))


def watched_steps(rank: int) -> None:
    """Steps are slow, and rank 0 looks at lease and folder ten times as often as it does elsewhere."""
    slow_steps(rank)
    lease.BEAT_S = 0.5


def watched_answers(rank: int) -> None:
    """The evaluation takes a minute, and rank 0 looks as often."""
    slow_answers(rank)
    lease.BEAT_S = 0.5


def pickles_from_rank_1(rank: int) -> None:
    """Rank 1 sends code in place of values; where it is run, it makes the folder code-ran in the run directory."""
    if rank == 1:
        mark = Path(os.environ["BERTJOB_SECRET_FILE"]).parent / "code-ran"
        code = bytearray(pickle.dumps(Code(mark)))
        ranks._pack = lambda value: torch.frombuffer(code, dtype=torch.uint8)
