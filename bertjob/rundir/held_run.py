"""A run directory that a process keeps open, so that it neither loses it nor makes it a second time.

Paths lead through the open folder (/proc/self/fd, man 5 proc). They stay valid when somebody moves the folder, so a
checkpoint can still be written; and when somebody removes it, it stays removed, although libraries make all folders of
a path they are given. Error messages name the paths that people know.
"""

import contextlib
import errno
import os
import re
import weakref
from pathlib import Path
from typing import Any

from bertjob.errors import LeaseError
from bertjob.rundir import atomic, lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.lease import Holder
from bertjob.text import reason


class HeldRun:
    """An open run directory; rank 0 takes its lease."""

    def __init__(self, run_dir: RunDir) -> None:
        """Open the folder.

        Raises:
            LeaseError: it is not there, or cannot be opened.
        """
        self.run_dir = run_dir
        self.lost = False
        """Whether another start has taken the lease over."""
        self._own: Holder | None = None
        self._file: int | None = None
        try:
            self._folder = os.open(run_dir.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise LeaseError(f"{run_dir.path}: the run directory cannot be opened: {reason(error)}") from None
        weakref.finalize(self, os.close, self._folder)
        self.there = RunDir(Path(f"/proc/self/fd/{self._folder}"))
        """The same run through the open folder: all writes go there."""
        self._real = run_dir.path.resolve()
        self._mounted = _root_of_mount(self._real, _mounts())

    def words(self, text: str) -> str:
        """A message about a path of `there`, with the path that people know."""
        return text.replace(str(self.there.path), str(self.run_dir.path))

    def take(self, own: Holder, former: Holder | None) -> bool:
        """Take the lease from `former`; False where another one was faster.

        Raises:
            OSError: it cannot be written.
        """
        if not lease.replace(self.there, former, own):
            return False
        self._own = own
        with contextlib.suppress(OSError):  # then it cannot be touched
            self._file = os.open(self.there.lease, os.O_RDONLY)
            weakref.finalize(self, os.close, self._file)
        return True

    def check(self) -> None:
        """Check that this start may still write; called before each write.

        A lease file that is gone is no other holder: `displaced` reports it.

        Raises:
            LeaseError: this start does not hold the lease, or not any more; says who does.
            OSError: the lease cannot be read.
        """
        if self._own is None:
            raise LeaseError(f"{self.run_dir.path}: this start does not hold the lease")
        found = lease.read(self.there)
        if found is not None and found.nonce != self._own.nonce:
            self.lost = True
            raise LeaseError(f"{self.run_dir.path}: {found} has taken over, so this start writes nothing more")

    def beat(self) -> None:
        """Touch the lease, for those who watch it; one that was replaced is not touched."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.utime(self._file)

    def give_up(self) -> None:
        """Release the lease: this start is over."""
        if self._own is not None:
            with contextlib.suppress(OSError):
                lease.end(self.there, self._own)

    def write_json(self, path: Path, value: Any, *, indent: int = 1) -> None:
        """Write or replace a file of the run, if this start may.

        Args:
            path: of `there`.
            value: its content.
            indent: of its lines, in blanks.

        Raises:
            LeaseError: another start has taken over.
            OSError: it cannot be written.
        """
        atomic.write_json(path, value, indent=indent, check=self.check)

    def displaced(self) -> str:
        """What happened to the folder, e.g. ``was moved to /there``; empty while its path leads to it."""
        try:
            if os.path.samestat(os.fstat(self._folder), self.run_dir.path.stat()):
                return self._changed_inside()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            if error.errno != errno.ESTALE:  # which NFS says of what another machine has removed
                return ""
        if now := self.where():
            return f"was moved to {now}"
        return "was removed" if self._target.endswith(" (deleted)") else "was moved or removed"

    def where(self) -> Path | None:
        """The path of the folder now; None if there is none, or it is only known outside this container or machine."""
        with contextlib.suppress(OSError):
            now = Path(self._target)
            if not self._moved_mount() and os.path.samestat(os.fstat(self._folder), now.stat()):
                return now
        return None

    @property
    def _target(self) -> str:
        return os.readlink(self.there.path)  # noqa: PTH115  # of a folder that is gone, a remark of the kernel

    def _changed_inside(self) -> str:
        if self._own is not None and not self.there.lease.exists():
            return "was emptied, its lease.json is gone"
        root = self._moved_mount()
        return f"was moved with {self._mounted}, which is now {root}" if root else ""

    def _moved_mount(self) -> str:
        """The folder that is mounted at the run directory's path, if it is not the one of the beginning."""
        root = _root_of_mount(self._real, _mounts())
        return "" if root == self._mounted else root


def _mounts() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    return ""


def _root_of_mount(path: Path, mounts: str) -> str:
    """The folder of a file system that is mounted where `path` lies, by the lines of mountinfo (man 5 proc).

    In a container the path stays though somebody moves the folder that is mounted there: then this changes.
    """
    found, longest = "", -1
    for line in mounts.splitlines():
        root, point = (_unescaped(field) for field in line.split()[3:5])
        if path.is_relative_to(point) and len(point) >= longest:  # a later one covers an earlier one
            found, longest = root, len(point)
    return found


def _unescaped(field: str) -> str:
    """Blanks, newlines and backslashes are there as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
