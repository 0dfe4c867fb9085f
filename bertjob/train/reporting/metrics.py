"""metrics.jsonl: one JSON object a line, a logged step or an evaluation; every line is whole."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class MetricsFile:
    """Appends lines; a line that does not fit on the disk leaves no half of it behind."""

    def __init__(self, path: Path) -> None:
        """Open `path`, which is made where it is missing."""
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

    def append(self, line: Mapping[str, Any]) -> None:
        """Add one line.

        Raises:
            OSError: it cannot be written.
        """
        data = msgspec.json.encode(line) + b"\n"
        before = os.fstat(self._handle).st_size
        try:
            if os.write(self._handle, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._handle, before)
            raise

    def flush(self) -> None:
        """Have all lines on the disk."""
        os.fsync(self._handle)


def cut(path: Path, step: int, *, evaluations: bool) -> None:
    """Keep the lines up to `step` only: those after it will be written again, the same.

    Args:
        path: replaced atomically where something has to go.
        step: the last step that stays.
        evaluations: whether lines of evaluations stay, too.
    """
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if _stays(line, step, evaluations)]
    if len(kept) < len(lines):
        aside = path.with_name(f".{path.name}.partial")
        aside.write_bytes(b"".join(kept))
        aside.replace(path)


def _stays(text: bytes, step: int, evaluations: bool) -> bool:
    try:
        line = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:  # half a line, of a killed run
        return False
    return text.endswith(b"\n") and line.get("step", 0) <= step and (evaluations or "loss" in line)
