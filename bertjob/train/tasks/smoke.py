"""The proof of a launch: no model and no data, but all that a training needs of launcher, engine, network and disk.

That the ranks came and are the planned ones is proved before this begins. Here they add up messages of growing size,
compare their clocks, and look for a file of rank 0's; with ``mpi: true`` they add up over MPI as well.
"""

import contextlib
import functools
import logging
import os
import socket
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.distributed as dist

from bertjob.errors import BertjobError, WorldError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.proof import AllReduce, Proof, Rank
from bertjob.text import counted, reason
from bertjob.train.context import Start, Work
from bertjob.train.device import device_name
from bertjob.train.distributed.peers import named
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.log_files import job_id

_LOG = logging.getLogger(__name__)
_SIZES = {"cpu": (1 << 10, 1 << 20, 1 << 24, 1 << 26), "cuda": (1 << 10, 1 << 20, 1 << 24, 1 << 28, 1 << 30)}
"""Bytes of the messages by device: up to the gradients of BERT-large in half precision on GPUs, less on CPUs."""
_ROUNDS = 3
_SECONDS_A_SIZE = 0.25
"""When a size takes longer than this, no larger one is tried."""
_FILE_SECONDS = 30.0
"""How long a file system may take to show a new file to other nodes; NFS keeps what it has seen for up to a minute."""
_CLOCK_SECONDS = 1.0
"""Clocks that differ by more confuse heartbeats, and those who read logs."""


def run(start: Start) -> int:
    """Prove the launch and write proof.json; called by all ranks. Returns the exit code 0.

    Raises:
        WorldError: sums are wrong, or the run directory is not the same for all ranks.
        BertjobError: the proof cannot be written.
    """
    ranks, report = start.ranks, start.report
    report.phase("proving")
    with report.working():
        check_file(ranks, start.keeper.held)
        offsets = clock_offsets(ranks)
        seen = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        own = Rank(
            rank=ranks.world.rank,
            host=socket.gethostname(),
            device=device_name(start.device),
            gpus=seen,
            clock_offset=round(offsets[ranks.world.rank], 4),
            mpi=start.mpi,
        )
        if start.mpi:
            _check_mpi(ranks.world.size)
        sums = tuple(all_reduces(ranks, start.device))
        proof = _proof(start, ranks.gather(own, Rank), sums)
        if ranks.first:
            _write(start.keeper.held, proof)
    start.part()
    report.end("done", 0)
    if ranks.first:
        _tell(proof, start.run_dir)
    return 0


PROOF = Work(is_finished=lambda run_dir, job: False, run=run)
"""Each start proves anew."""


def check_file(ranks: Ranks, held: HeldRun) -> None:
    """A file that rank 0 writes is there for all; called by all ranks.

    Raises:
        WorldError: it is not; names the ranks and hosts that do not see it.
    """
    text = ranks.from_first(lambda: f"{socket.gethostname()} {os.getpid()} {time.time_ns()}", str)
    run_dir = held.run_dir
    path = run_dir.path / ".seen-by-all"
    if ranks.first:
        held.check()
        path.write_text(text)
    ranks.barrier()
    deadline = time.monotonic() + _FILE_SECONDS
    while not (seen := _holds(run_dir, path.name, text)) and time.monotonic() < deadline:
        time.sleep(0.1)
    views = ranks.gather((socket.gethostname(), seen), tuple[str, bool])
    blind = [(rank, host) for rank, (host, sees) in enumerate(views) if not sees]
    if ranks.first:
        path.unlink(missing_ok=True)
    if blind:
        hosts = ", ".join(dict.fromkeys(host for _, host in blind))
        raise WorldError(
            f"{run_dir.path}: a file that rank 0 on {text.split()[0]} wrote is"
            f" not there for {named([rank for rank, _ in blind])} ({hosts}): the folder is not on a shared file system"
        )


def clock_offsets(ranks: Ranks) -> list[float]:
    """Seconds by which each rank's clock is ahead of rank 0's, to about a millisecond; called by all ranks."""
    rounds = []
    for _ in range(5):
        ranks.barrier()  # ranks leave it at different times, which only ever adds to a difference
        times = ranks.gather(time.time(), float)
        rounds.append([own - times[0] for own in times])
    return [min(found, key=abs) for found in zip(*rounds, strict=True)]


def all_reduces(ranks: Ranks, device: torch.device) -> Iterator[AllReduce]:
    """The time of sums of growing size over all ranks; called by all ranks, none with one rank.

    Raises:
        WorldError: a sum is wrong.
    """
    size = ranks.world.size
    if size == 1:
        return
    for count in _SIZES[device.type]:
        data = torch.empty(count // 4, dtype=torch.float32, device=device)
        seconds: list[float] = []
        for _ in range(_ROUNDS):
            data.fill_(ranks.world.rank + 1)
            ranks.barrier()
            before = time.perf_counter()
            dist.all_reduce(data)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - before)
        wrong = bool((data != size * (size + 1) / 2).any())
        if ranks.any(wrong)[0]:
            raise WorldError(f"an all-reduce of {count} bytes over {size} ranks adds up wrongly")
        median = ranks.from_first(functools.partial(statistics.median, seconds), float)
        yield AllReduce(bytes=count, seconds=median, bandwidth=2 * (size - 1) / size * count / median)
        if median > _SECONDS_A_SIZE:
            return


def _holds(run_dir: RunDir, name: str, text: str) -> bool:
    with contextlib.suppress(OSError):
        list(run_dir.path.iterdir())  # which makes NFS look again
        return (run_dir.path / name).read_text() == text
    return False


def _check_mpi(size: int) -> None:
    from mpi4py import MPI

    total = np.ones(1, dtype=np.int64)
    MPI.COMM_WORLD.Allreduce(MPI.IN_PLACE, total)  # mpi4py's allreduce would send a pickle
    if total[0] != size:
        raise WorldError(f"MPI adds up {total[0]} ranks, the plan has {size}")


def _proof(start: Start, seen: list[Rank], sums: tuple[AllReduce, ...]) -> Proof:
    job = start.job
    late = [rank for rank in seen if abs(rank.clock_offset) > _CLOCK_SECONDS]
    return Proof(
        time=time.time(),
        job_id=job_id(os.environ),
        launcher=job.launcher or "",
        engine=job.engine or "",
        srun_mpi=job.srun_mpi or "",
        ranks=tuple(seen),
        transport=start.transport or dist.get_backend(),
        all_reduces=sums,
        warnings=(
            *(
                f"the clock of {host} is {offset:+.1f} s off rank 0's"
                for host, offset in {rank.host: rank.clock_offset for rank in late}.items()
            ),
            *((start.doubt,) if start.doubt else ()),
        ),
    )


def _write(held: HeldRun, proof: Proof) -> None:
    try:
        held.write_json(held.there.proof, proof)
    except OSError as error:
        raise BertjobError(f"{held.run_dir.proof}: the proof cannot be written: {reason(error)}") from None


def _tell(proof: Proof, run_dir: RunDir) -> None:
    """A few lines for the job's log."""
    _LOG.info("%s on %s, by %s", counted(len(proof.ranks), "rank"), counted(len(proof.hosts), "node"), proof.transport)
    for one in proof.all_reduces:
        _LOG.info(
            "all-reduce of %10.3f MB  %8.1f ms  %7.3f GB/s", one.bytes / 1e6, one.seconds * 1e3, one.bandwidth / 1e9
        )
    for warning in proof.warnings:
        _LOG.warning("%s", warning)
    _LOG.info("done: the proof is in %s", run_dir.proof)
