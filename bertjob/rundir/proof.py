"""proof.json: what a job with ``task: smoke`` saw of the machine; written by the training, read by the login node."""

from pathlib import Path

import msgspec


class AllReduce(msgspec.Struct, frozen=True, kw_only=True):
    """One size of message, added up over all ranks."""

    bytes: int
    seconds: float
    """Median of some rounds."""
    bandwidth: float
    """Bytes a second through each rank's network: 2(n-1)/n x bytes / seconds, the "bus bandwidth" of NCCL's tests."""


class Rank(msgspec.Struct, frozen=True, kw_only=True):
    """What one rank saw."""

    rank: int
    host: str
    device: str
    """What it computes on, e.g. `cuda:0 NVIDIA H200` or `cpu (2 threads)`."""
    gpus: tuple[str, ...] = ()
    """Names of all GPUs that it sees."""
    clock_offset: float = 0.0
    """Seconds by which its clock is ahead of rank 0's, to about a millisecond."""
    mpi: str = ""
    """Its MPI library, in a job with `mpi: true`."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that worked: all ranks came, met, talked and saw the same file. Newer versions may say more."""

    time: float
    """Seconds since the epoch."""
    job_id: str
    launcher: str
    engine: str
    srun_mpi: str = ""
    """What srun offered the ranks; empty under another launcher."""
    ranks: tuple[Rank, ...]
    """In their order."""
    transport: str
    """By what the ranks talked, e.g. `gloo over eth0`."""
    all_reduces: tuple[AllReduce, ...] = ()
    """By growing size; none with one rank."""
    warnings: tuple[str, ...] = ()
    """What works, but not as it should, e.g. clocks that differ."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The nodes, each once, in the order of their ranks."""
        return tuple(dict.fromkeys(rank.host for rank in self.ranks))

    @property
    def bandwidth(self) -> float | None:
        """The best of all sizes, in bytes a second; None with one rank."""
        return max((one.bandwidth for one in self.all_reduces), default=None)


def read_proof(path: Path) -> Proof | None:
    """The proof, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Proof)
    except (OSError, msgspec.DecodeError):
        return None
