"""Resource limits (getrlimit(2)) that a job inherits from the shell that submits it, and dies of.

Slurm sets the soft limits of that shell in the job, but for those that PropagateResourceLimits and
PropagateResourceLimitsExcept leave out (slurm.conf(5); by default all travel); hard limits are those of slurmd. So a
limit that protects a login node from long or large programs ends a training, hours later and without a reason.
"""

import re
import sys
from collections.abc import Mapping

import msgspec

from bertjob.rundir.ending import Bounds

_UNLIMITED = sys.maxsize


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of resource limit.

    Attributes:
        name: as in /proc/PID/limits.
        rlimit: as getrlimit and Slurm have it, behind ``RLIMIT_``.
        option: of bash's ulimit.
        what: what is limited, in words.
        unit: of the number: ``s``, ``bytes`` or a noun; ulimit counts 1024 bytes.
        died: what those print who die of it. It counts only where there is a limit.
    """

    name: str
    rlimit: str
    option: str
    what: str
    unit: str
    died: re.Pattern[str]

    def told(self, number: int) -> str:
        """The limit in words: ``RLIMIT_CPU is 20 s of CPU time for a process (ulimit -t)``."""
        size = _size(number) if self.unit == "bytes" else f"{number} {self.unit}"
        return f"RLIMIT_{self.rlimit} is {size} {self.what} (ulimit {self.option})"


_NO_MEMORY = r"\bMemoryError|bad_alloc|[Cc]annot allocate memory|can't allocate memory|\bENOMEM\b"
"""What Python, C++ and the system say where a process gets no more memory."""
LIMITS = (
    Limit(
        name="cpu time",
        rlimit="CPU",
        option="-t",
        what="of CPU time for a process",
        unit="s",
        died=re.compile(r"SIGXCPU|CPU time limit exceeded|signal 24\b"),
    ),
    Limit(
        name="file size",
        rlimit="FSIZE",
        option="-f",
        what="for a file",
        unit="bytes",
        died=re.compile(
            r"SIGXFSZ|[Ff]ile size limit exceeded|[Ff]ile too large|signal 25\b|\[Errno 27\]|os error 27\b"
        ),
    ),
    Limit(
        name="locked memory",
        rlimit="MEMLOCK",
        option="-l",
        what="of locked memory",
        unit="bytes",
        died=re.compile(  # RDMA registers memory: libibverbs, NCCL, UCX, libfabric, Open MPI
            r"(?:\bibv_\w+|reg_mr|register\w*|mlock\w*)\b.{0,80}(?:cannot allocate memory|enomem)",
            re.IGNORECASE,
        ),
    ),
    Limit(
        name="address space",
        rlimit="AS",
        option="-v",
        what="of address space for a process",
        unit="bytes",
        died=re.compile(
            rf"{_NO_MEMORY}"
            r"|failed to map segment from shared object|could not create a primitive|CUDA error: out of memory"
        ),
    ),
    Limit(
        name="data size",
        rlimit="DATA",
        option="-d",
        what="of data for a process",
        unit="bytes",
        died=re.compile(_NO_MEMORY),
    ),
    Limit(
        name="processes",
        rlimit="NPROC",
        option="-u",
        what="and threads of this user on a node",
        unit="processes",
        died=re.compile(r"can't start new thread|Thread creation failed|pthread_create|fork.*(?:retry|unavailable)"),
    ),
    Limit(
        name="open files",
        rlimit="NOFILE",
        option="-n",
        what="open in a process",
        unit="files",
        died=re.compile(r"[Tt]oo many open files|\[Errno 24\]|os error 24\b"),
    ),
    Limit(
        name="stack size",
        rlimit="STACK",
        option="-s",
        what="of stack for a thread",
        unit="bytes",
        died=re.compile(r"SIGSEGV|Segmentation fault|stack overflow", re.IGNORECASE),
    ),
)
"""The first one that fits is the cause. Words of bash 5.2, srun 22.05, CPython 3.11, torch 2.13, libibverbs."""
_ORDINARY: Mapping[str, int] = {"processes": 1 << 14, "stack size": 1 << 20}
"""From here on everybody has such a limit, and something else is the cause."""


def died_of(text: str, limits: Mapping[str, Bounds]) -> str:
    """The limit that a job has died of, in words; empty where none fits.

    Args:
        text: why it failed, as ranks, launchers or the kernel put it.
        limits: those of its processes (rundir.ending).
    """
    for limit in LIMITS:
        if (bounds := limits.get(limit.name)) is None or bounds[0] >= _ORDINARY.get(limit.name, _UNLIMITED):
            continue
        by_kill = limit.name == "cpu time" and bounds[0] == bounds[1] and "SIGKILL" in text  # setrlimit(2)
        if by_kill or limit.died.search(text):
            return limit.told(bounds[0])
    return ""


def _size(number: int) -> str:
    """Bytes in the largest unit that counts them in whole numbers, or nearly so."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.4g} {unit}"
    return f"{number} bytes"
