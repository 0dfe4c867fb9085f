"""TensorBoard's event file, written at once and by the thread that calls.

TensorBoard's own writer (2.21) hands events to a thread, which writes when it likes: also after the lease was lost, and
after one failure never again. Here each step is one record, checked and appended like a line of metrics.jsonl.
"""

import itertools
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertjob.rundir import atomic

_VERSION = "brain.Event:2"
_FILES = itertools.count()


class EventsFile:
    """Appends events; one that does not fit on the disk leaves no half of it behind."""

    def __init__(self, folder: Path, first: int, check: atomic.Check = atomic.unchecked) -> None:
        """Make a new file in `folder`, which is made where it is missing.

        Args:
            folder: where TensorBoard looks.
            first: the first step of this file; TensorBoard drops this step and later ones of files before it.
            check: called before each write; what it raises stops the write.

        Raises:
            OSError: it cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._check = check
        check()
        folder.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010}.{socket.gethostname()}.{os.getpid()}.{next(_FILES)}"
        self._handle = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._record = RecordWriter(self).write
        self._event = Event
        self._add(file_version=_VERSION)
        self._add(step=first, session_log=SessionLog(status=SessionLog.START))

    def append(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add the scalars of one step, by their tags.

        Raises:
            OSError: they cannot be written.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._add(step=step, summary=Summary(value=values))

    def write(self, record: bytes) -> None:
        """Append one whole record, as its `RecordWriter` asks for."""
        self._check()
        atomic.append_to(self._handle, record)

    def _add(self, **what: Any) -> None:
        self._record(self._event(wall_time=time.time(), **what).SerializeToString())
