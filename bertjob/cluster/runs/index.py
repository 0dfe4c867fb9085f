"""The index of runs: which run directories this user has, so that ``status`` need not search the file system.

It is a convenience that is never required to be right: run directories are the truth, and a broken or stuck index is
set aside and made anew from them. Login nodes only; the training knows nothing of it.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

Entry = tuple[str, bytes]
"""Path of a run directory, and its newest submission as JSON."""
Result = TypeVar("Result")

_log = logging.getLogger(__name__)
_LOCK_TIMEOUT_S = 2
"""A write takes milliseconds: a lock held longer than this is stuck, as happens on network file systems."""


def state_folder() -> Path:
    """Where bertjob keeps what belongs to the user and not to a run: ``$XDG_STATE_HOME/bertjob``."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "bertjob"


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
            _log.warning("%s: the index of runs cannot be written: %s", self._file, error)

    def drop(self, path: str) -> None:
        """Take a run out; where nothing can be written it stays, and is passed over since its folder is gone."""
        with contextlib.suppress(OSError, sqlite3.Error):
            self._do(lambda database: database.execute("DELETE FROM runs WHERE path = ?", [path]))

    def entries(self) -> list[Entry]:
        """Every run, in no order."""
        if not self._known_folders():
            return []
        try:
            return self._do(lambda database: database.execute("SELECT path, submission FROM runs").fetchall())
        except (OSError, sqlite3.Error) as error:
            _log.warning("%s: the index of runs cannot be read: %s", self._file, error)
            return self._scan_all()

    def rebuild(self, folders: Iterable[Path]) -> int:
        """Make the index anew from the runs in `folders` and those it knew of; says how many there are.

        Raises:
            OSError: nothing can be written there.
        """
        for folder in folders:
            self._remember(folder)
        self._file.unlink(missing_ok=True)
        entries = self._scan_all()
        self._try(lambda database: _put(database, entries))
        return len(entries)

    def _do(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        if not self._file.exists():
            self.rebuild(())
        try:
            return self._try(act)
        except sqlite3.Error as error:
            aside = self._file.with_name(f"{self._file.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}")
            self._file.replace(aside)
            _log.warning("%s: %s; it is now %s, and made anew from the run directories", self._file, error, aside.name)
            self.rebuild(())
            return self._try(act)

    def _try(self, act: Callable[[sqlite3.Connection], Result]) -> Result:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(self._file, timeout=_LOCK_TIMEOUT_S)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS runs (path TEXT PRIMARY KEY, submission BLOB NOT NULL)")
            return act(database)

    def _remember(self, folder: Path) -> None:
        if str(folder) not in self._known_folders():
            self._folders.parent.mkdir(parents=True, exist_ok=True)
            with self._folders.open("a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{folder}\0")  # the one character that no path holds

    def _known_folders(self) -> list[str]:
        try:
            return self._folders.read_text(encoding="utf-8", errors="surrogateescape").split("\0")[:-1]
        except OSError:
            return []

    def _scan_all(self) -> list[Entry]:
        return [entry for folder in self._known_folders() for entry in self._scan(Path(folder))]


def _put(database: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    database.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?)", entries)
