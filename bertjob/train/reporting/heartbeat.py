"""state.json and metrics.jsonl, kept up to date by work that is really done.

While it trains, a run that makes no step is hung, so only the loop writes. Between steps there are long phases without
any: features, answers, checkpoints. There a thread writes, but only while this process uses its processor: a rank that
waits for a dead file system or a dead peer does not.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bertjob.errors import LeaseError
from bertjob.rundir import atomic
from bertjob.rundir.state import RunState, write_state

_AT_MOST_EVERY_SECONDS = 1.0
_WORKING_EVERY_SECONDS = 2.0
_BUSY = 0.02
"""Share of one processor from which on a process is at work."""


class MetricsFile:
    """Appends lines; a line that does not fit on the disk leaves no half of it behind."""

    def __init__(self, path: Path, check: atomic.Check = atomic.unchecked) -> None:
        """Open `path`, which is made where it is missing; what `check` raises before a line stops it."""
        self._check = check
        check()
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line.

        Raises:
            OSError: it cannot be written.
        """
        self._check()
        atomic.append_to(self._handle, msgspec.json.encode(line) + b"\n")

    def flush(self) -> None:
        """Have all lines on the disk."""
        os.fsync(self._handle)


def cut(path: Path, step: int, *, evaluations: bool, check: atomic.Check = atomic.unchecked) -> None:
    """Keep the lines up to `step` only: those after it will be written again, the same.

    Args:
        path: the file; replaced where something has to go.
        step: the last step that stays.
        evaluations: whether lines of evaluations stay, too.
        check: asked before it is replaced.
    """
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _stays(line, step, evaluations)]
    if len(kept) < len(lines):
        atomic.write_bytes(path, b"".join(kept), check=check)


def _stays(text: bytes, step: int, evaluations: bool) -> bool:
    try:
        line = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:  # half a line, of a killed run
        return False
    return text.endswith(b"\n") and line.get("step", 0) <= step and (evaluations or "loss" in line)


class Heartbeat:
    """Writes one state file."""

    def __init__(self, path: Path, state: RunState, check: atomic.Check = atomic.unchecked) -> None:
        """Write `state` to `path`; where there is no room now, the next update does.

        What `check` raises before a write stops it.
        """
        self._path = path
        self._check = check
        self._state = state
        self._lock = threading.Lock()
        self._written = 0.0
        self._over = False
        with contextlib.suppress(OSError):
            self.update()

    def update(self, **changes: Any) -> None:
        """Change fields of the state, and write it now.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._write(changes)

    def end(self, **changes: Any) -> None:
        """The last word: what other threads have to say after it is not written any more.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            try:
                self._write(changes)
            finally:
                self._over = True

    def beat(self, **changes: Any) -> None:
        """Change fields of the state, and write them if nothing was written within the last second.

        Raises:
            OSError: it cannot be written.
        """
        if time.monotonic() - self._written >= _AT_MOST_EVERY_SECONDS:
            self.update(**changes)
        else:
            with self._lock:
                self._state = msgspec.structs.replace(self._state, **changes)

    def _write(self, changes: dict[str, Any]) -> None:
        if self._over:
            return
        self._state = msgspec.structs.replace(self._state, **changes, time=time.time())
        self._written = time.monotonic()
        write_state(self._path, self._state, self._check)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Inside, a thread writes as long as this process uses its processor."""
        over = threading.Event()
        thread = threading.Thread(target=self._while_busy, args=(over,), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _while_busy(self, over: threading.Event) -> None:
        used = time.process_time()
        while not over.wait(_WORKING_EVERY_SECONDS):
            now = time.process_time()
            if now - used >= _BUSY * _WORKING_EVERY_SECONDS:
                with contextlib.suppress(OSError, LeaseError):  # a lease that is lost is the keeper's to tell
                    self.update()
            used = now
