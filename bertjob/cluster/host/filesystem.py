"""Folders and the network of this machine: file systems, free space, quota, interfaces, ports."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from bertjob.cluster.process import ask

SHARED = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "gpfs", "lustre", "nfs", "nfs4", "panfs", "pvfs2"}
)
"""File systems that are, or may be, on all nodes at once."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A folder and what it lies on; an `error` says why nothing is known."""

    path: str
    """The folder, or the nearest one above that is there."""
    mount: str = ""
    """Where its file system is mounted."""
    kind: str = ""
    """File system, e.g. ``lustre``, ``nfs4``, ``ext4``."""
    free: int = 0
    """Bytes."""
    size: int = 0
    """Bytes."""
    free_files: int | None = None
    """Inodes; None where the file system does not count them."""
    used: int | None = None
    """Bytes that count against the user's quota; None: no quota is known."""
    quota: int | None = None
    """Bytes that the user may have there."""
    writable: bool = True
    error: str = ""

    @property
    def shared(self) -> bool:
        """A network file system, which all nodes see."""
        return self.kind in SHARED


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Folders by what they are for, and the network.

    Attributes:
        folders: by role: run directory, home, scratch ….
        interfaces: names of the network interfaces.
        ephemeral: first and last port that the kernel gives to outgoing connections; None: not known.
        leftovers: variables of an enclosing job, or that change what the scheduler's commands do.
    """

    folders: Mapping[str, Place] = {}
    interfaces: tuple[str, ...] = ()
    ephemeral: tuple[int, int] | None = None
    leftovers: Mapping[str, str] = {}


def look(folders: Mapping[str, str], leftovers: Iterable[str]) -> Places:
    """Look at folders, all at the same time, since each may hang by itself, and at the network."""
    with ThreadPoolExecutor() as pool:
        found = dict(zip(folders, pool.map(place, folders.values()), strict=True))
    return Places(
        folders=found,
        interfaces=_interfaces(),
        ephemeral=_ephemeral(),
        leftovers={name: os.environ[name] for name in sorted(leftovers)},
    )


def place(folder: str) -> Place:
    """What a folder lies on. Asked of df, which can be ended when the file system's server hangs."""
    path = folder
    while not os.path.isdir(path) and path != "/":  # noqa: PTH112  # as text: a path may hold anything
        path = os.path.dirname(path) or "/"  # noqa: PTH120
    said = ask("df", "--block-size=1", "--output=fstype,size,avail,iavail,target", path)
    made = parse_df(path, said.output)
    if said.error or made is None:
        return Place(path=path, error=said.error or "df says nothing about it")
    used, quota = _quota(made, path)
    return msgspec.structs.replace(made, used=used, quota=quota, writable=os.access(path, os.W_OK | os.X_OK))


def parse_df(path: str, output: str) -> Place | None:
    """A place from the second line of df's output; None when there is none."""
    fields = output.splitlines()[-1].split(None, 4) if output.strip() else []
    if len(fields) < 5 or not fields[1].isdecimal():
        return None
    kind, size, free, files, mount = fields
    return Place(
        path=path,
        mount=mount,
        kind=kind,
        size=int(size),
        free=int(free) if free.isdecimal() else 0,
        free_files=int(files) if files.isdecimal() and files != "0" else None,
    )


def _quota(made: Place, path: str) -> tuple[int | None, int | None]:
    user = str(os.getuid())
    if made.kind == "lustre":
        return parse_quota(ask("lfs", "quota", "-u", user, path).output)
    if not made.shared or shutil.which("quota") is None:
        return None, None
    return parse_quota(
        ask("quota", "--no-wrap", "--filesystem", made.mount).output
    )  # it fails when the quota is exceeded


def parse_quota(output: str) -> tuple[int | None, int | None]:
    """Bytes used and allowed, from the table of quota or ``lfs quota``, in KiB; None where no limit is set.

    The soft limit counts where there is one: what lies above it is refused when its grace is over.
    """
    for line in output.splitlines():
        numbers = [field.rstrip("*[]").lstrip("[") for field in line.split()[1:4]]
        if len(numbers) == 3 and all(number.isdecimal() for number in numbers):
            used, soft, hard = (1024 * int(number) for number in numbers)
            return (used, soft or hard) if soft or hard else (None, None)
    return None, None


def _interfaces() -> tuple[str, ...]:
    with contextlib.suppress(OSError):
        return tuple(sorted(entry.name for entry in Path("/sys/class/net").iterdir()))
    return ()


def _ephemeral() -> tuple[int, int] | None:
    with contextlib.suppress(OSError, ValueError):
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(first), int(last)
    return None
