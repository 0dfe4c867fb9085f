"""The index of runs: which run directories this user has, so that ``status`` need not search the file system.

It is a convenience that is never required to be right: run directories are the truth. A broken index is set aside and
made anew from them. One that only cannot be read or written now (a full disk, a lock, a mount that is read-only) stays
as it is. Login nodes only; the training knows nothing of it.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from bertjob.config.home import home
from bertjob.rundir import atomic

Entry = tuple[str, bytes]
"""Path of a run directory, and its newest submission as JSON."""
Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_LOCK_TIMEOUT_S = 2
"""A write takes milliseconds: a lock held longer than this is stuck, as happens on network file systems."""
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_ERROR})
"""What sqlite says of a file that is no index (sqlite.org/rescode.html): damaged, another format, other tables.

All else is about the disk, the rights or a lock, and says nothing against the content."""
_REMEDY = "once that is settled: bertjob status --rebuild"


def state_folder() -> Path:
    """Where bertjob keeps what belongs to the user and not to a run: ``$XDG_STATE_HOME/bertjob``."""
    return Path(os.environ.get("XDG_STATE_HOME") or home() / ".local" / "state") / "bertjob"


class Index:
    """An sqlite file of run directories, and a plain list of the folders they lie in, from which it can be rebuilt."""

    def __init__(self, folder: Path, scan: Callable[[Path], Iterable[Entry]]) -> None:
        """The index in `folder`; `scan` reads the entries of the run directories that lie in a folder."""
        self._file = folder / "index.sqlite"
        self._folders = folder / "folders"
        self._scan = scan

    def add(self, path: str, submission: bytes) -> None:
        """Add a run or replace what is said of it; where nothing can be written, one warning is all."""
        try:
            self._remember(Path(path).parent)
            self._do(lambda database: _put(database, [(path, submission)]))
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s: the index of runs cannot be written: %s; %s", self._file, error, _REMEDY)

    def remember(self, folder: Path) -> None:
        """Look in a folder for runs that nobody has added; where nothing can be written, one warning is all."""
        try:
            self._remember(folder)
        except OSError as error:
            _log.warning("%s: cannot be written: %s; %s", self._folders, error, _REMEDY)

    def drop(self, path: str) -> None:
        """Take a run out; where nothing can be written it stays, and is passed over since its folder is gone."""
        with contextlib.suppress(OSError, sqlite3.Error):
            self._do(lambda database: database.execute("DELETE FROM runs WHERE path = ?", [path]))

    def entries(self) -> list[Entry]:
        """Every run, in no order."""
        if not self.folders() and not self._file.exists():
            return []
        try:
            return self._do(_all)
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s: the index of runs cannot be read: %s; %s", self._file, error, _REMEDY)
            return self._scan_all(self.folders())

    def folders(self) -> list[str]:
        """The folders in which runs lie, as far as they could be written down."""
        try:
            return self._folders.read_text(encoding="utf-8", errors="surrogateescape").split("\0")[:-1]
        except OSError:
            return []

    def rebuild(self, folders: Iterable[Path]) -> int:
        """Make the index anew from the runs in `folders` and those it knew of; says how many there are.

        Raises:
            OSError, sqlite3.Error: it cannot be written; the former one stays.
        """
        known = {*self.folders(), *(os.path.dirname(path) for path, _ in self._readable())}  # noqa: PTH120
        every = sorted(known | {str(folder) for folder in folders})
        entries = self._scan_all(every)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        content = "".join(f"{folder}\0" for folder in every).encode(errors="surrogateescape")
        atomic.write_bytes(self._folders, content)
        with atomic.replacing(self._file) as aside:
            self._try(lambda database: _put(database, entries), aside)
        return len(entries)

    def _do(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        if not self._file.exists():
            self.rebuild(())
        try:
            return self._try(act, self._file)
        except sqlite3.Error as error:
            if not _is_broken(error):
                raise
            aside = self._file.with_name(f"{self._file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
            self._file.replace(aside)
            _log.warning("%s: %s; it is now %s, and made anew from the run directories", self._file, error, aside.name)
            self.rebuild(())
            return self._try(act, self._file)

    def _readable(self) -> list[Entry]:
        """What can still be read of the index."""
        with contextlib.suppress(OSError, sqlite3.Error):
            if self._file.exists():
                return self._try(_all, self._file)
        return []

    def _try(self, act: Callable[[sqlite3.Connection], Result], file: Path) -> Result:
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(file, timeout=_LOCK_TIMEOUT_S)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS runs (path TEXT PRIMARY KEY, submission BLOB NOT NULL)")
            return act(database)

    def _remember(self, folder: Path) -> None:
        if str(folder) not in self.folders():
            self._folders.parent.mkdir(parents=True, exist_ok=True)
            entry = f"{folder}\0"  # the one character that no path holds
            atomic.append(self._folders, entry.encode(errors="surrogateescape"))

    def _scan_all(self, folders: Iterable[str]) -> list[Entry]:
        return [entry for folder in folders for entry in self._scan(Path(folder))]


def _is_broken(error: sqlite3.Error) -> bool:
    """Whether the file is no index, as opposed to one that cannot be reached or written now."""
    code = getattr(error, "sqlite_errorcode", None)  # none where the error is Python's own, of a value
    return code is not None and code & 0xFF in _BROKEN


def _all(database: sqlite3.Connection) -> list[Entry]:
    return database.execute("SELECT path, submission FROM runs").fetchall()


def _put(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    # By name: newer versions may have more columns, and are no reason to set their index aside.
    database.executemany("INSERT OR REPLACE INTO runs (path, submission) VALUES (?, ?)", entries)
