"""lease.json: which start of a run may write into its directory.

Slurm may restart a job while ranks of its previous start are still alive, as on a node whose daemon was lost; and
people start a run twice. Rank 0 of each start takes the lease before it writes anything, and compares it before each
write: whoever took it last may write, and nobody else. A holder touches the file to show that it is alive; since the
clocks of machines differ, others look for changes, not for times.
"""

import contextlib
import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import LOCAL_ID
from bertjob.text import is_full

BEAT_S = 5.0
"""Seconds between two touches of a live holder."""
SILENT_S = 35.0
"""Seconds without a touch after which a holder counts as dead, where neither scheduler nor process can be asked."""
TURN = ".lease.turn"
"""Name of the file by which only one at a time replaces the lease."""
_TURN_S = 5.0
"""Seconds after which a turn, which takes milliseconds, must belong to a process that was killed during it."""
_RESERVE = 1024
"""Bytes of the file: blanks follow the content, so that a start on a full disk can take it, and say so."""
_LONGEST = 1 << 12
"""Bytes; a lease has some hundreds."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The token of one start: the content of lease.json. The job script reads the first three fields as they stand."""

    job_id: str
    """The scheduler's id; ``local`` without a scheduler; empty while a job is being submitted."""
    restart: int = 0
    """How often the scheduler had started the job before."""
    nonce: str
    """Tells this start from all others."""
    host: str
    time: float
    """Seconds since the epoch when it took the lease, for people to read."""
    pid: int = 0
    """The process that writes; 0: a job that waits in a queue."""
    machine: str = ""
    """Where the pid is valid: the kernel's boot id and the pid namespace."""
    born: int = 0
    """When the process started, in clock ticks since boot: the kernel reuses pids."""
    given: str = ""
    """Nonce of the holder that started this one: ``bertjob run`` holds the lease until rank 0 takes it."""
    ended: bool = False
    """The start is over and has released the lease."""
    cluster: str = ""
    """The cluster whose scheduler gave the id; empty where it is not known."""

    def __str__(self) -> str:
        """E.g. ``job 17 (start 2 on nid00001, process 4242, since 2026-11-20 10:15:00)``."""
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.time))
        start = f"start {self.restart} on" if self.restart else "on"
        process = f", process {self.pid}" if self.pid else ""
        return f"{self.name} ({start} {self.host}{process}, since {since})"

    @property
    def name(self) -> str:
        """The first words of that."""
        names = {LOCAL_ID: "a local run", "": "a submission"}
        return names.get(self.job_id, f"job {self.job_id}")


_DECODER = msgspec.json.Decoder(Holder)


def of_this_process(job_id: str, restart: int = 0, cluster: str = "") -> Holder:
    """The token of a start whose writer is this process."""
    pid = os.getpid()
    born = _born(pid)
    return Holder(
        job_id=job_id,
        restart=restart,
        nonce=secrets.token_hex(8),
        host=socket.gethostname(),
        time=time.time(),
        pid=pid,
        machine=_machine(),
        born=0 if born is None else born,
        cluster=cluster,
    )


def of_waiting_job(job_id: str, cluster: str = "") -> Holder:
    """The token of a job that was submitted from here and has not started yet."""
    host = socket.gethostname()
    return Holder(job_id=job_id, nonce=secrets.token_hex(8), host=host, time=time.time(), cluster=cluster)


def read(run_dir: RunDir) -> Holder | None:
    """Who holds the lease; None where nobody has taken it yet, or the file is damaged.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return _read(run_dir.lease)
    except OSError as error:
        if error.errno != errno.ESTALE:  # NFS: replaced between finding it and opening it
            raise
        return _read(run_dir.lease)


def _read(path: Path) -> Holder | None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return _DECODER.decode(os.read(handle, _LONGEST))
    except msgspec.DecodeError:
        return None
    finally:
        os.close(handle)


def replace(run_dir: RunDir, former: Holder | None, own: Holder) -> bool:
    """Replace `former` by `own`; False if the holder is another one by now. Of several callers one succeeds.

    Raises:
        OSError: the lease cannot be read or written.
    """
    with _turn(run_dir.path):
        found = read(run_dir)
        if (found and found.nonce) != (former and former.nonce):
            return False
        _write(run_dir, own)
        return True


def _write(run_dir: RunDir, holder: Holder) -> None:
    content = msgspec.json.encode(holder).ljust(_RESERVE) + b"\n"
    try:
        atomic.write_bytes(run_dir.lease, content)
    except OSError as error:
        if not is_full(error):
            raise
        try:
            atomic.write_over(run_dir.lease, content)  # the turn is ours; who reads half of it looks again in his own
        except OSError:
            raise error from None


def put_back(run_dir: RunDir, own: Holder, former: Holder | None) -> None:
    """Undo `replace` after a start that failed, unless another one has taken over since.

    Raises:
        OSError: the lease cannot be read or written.
    """
    with _turn(run_dir.path):
        found = read(run_dir)
        if found is None or found.nonce != own.nonce:
            return
        if former is None:
            run_dir.lease.unlink()
        else:
            _write(run_dir, former)


def end(run_dir: RunDir, own: Holder) -> None:
    """Release the lease of a start, or of the rank 0 that it has started.

    Raises:
        OSError: the lease cannot be read or written.
    """
    with _turn(run_dir.path):
        found = read(run_dir)
        if found is not None and belongs(found, own):
            _write(run_dir, msgspec.structs.replace(found, ended=True))


def belongs(found: Holder, own: Holder) -> bool:
    """Whether a holder is `own`, or the rank 0 that it has started."""
    return own.nonce in (found.nonce, found.given)


def lives(holder: Holder) -> bool | None:
    """Whether a holder's process is alive; None if it cannot be seen from here."""
    if not holder.pid or not holder.machine or holder.machine != _machine():
        return None
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's, whose facts may be hidden
        return None
    return _born(holder.pid) == holder.born


def is_silent(file: Path, seconds: float = SILENT_S) -> bool:
    """Watch whether a lease or heartbeat is touched or replaced; True when it was neither within `seconds`."""
    first, deadline = _touched(file), time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.2)
        if _touched(file) != first:
            return False
    return True


def _touched(path: Path) -> tuple[int, int] | None:
    """A value that changes whenever a file is touched or replaced."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)  # NFS revalidates its cached attributes on open
        try:
            status = os.fstat(handle)
            return status.st_ino, status.st_mtime_ns
        finally:
            os.close(handle)
    return None


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Mutual exclusion across machines: O_EXCL works on NFS (man 2 open: version 3 and later), locks not everywhere."""
    path, seen, deadline = folder / TURN, None, 0.0
    while True:
        with contextlib.suppress(FileExistsError):
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            break
        if (found := _touched(path)) != seen:
            seen, deadline = found, time.monotonic() + _TURN_S
        elif time.monotonic() > deadline:
            with atomic.beside(path) as aside, contextlib.suppress(FileNotFoundError):  # another one was faster
                path.rename(aside)
        time.sleep(0.01)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(handle)):  # else it was taken for that of a killed process
                path.unlink()
        os.close(handle)


def _machine() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115  # it leads nowhere
    return ""


def _born(pid: int) -> int | None:
    """When a process started (man 5 proc: field 22 of stat); None if there is none, or only a zombie."""
    with contextlib.suppress(OSError):
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return None if state in "ZX" else int(rest[18])
    return None
