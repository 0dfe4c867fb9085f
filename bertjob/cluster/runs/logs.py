"""Follow a run's log from its start across requeues, which append to the same file, until the run ends."""

import codecs
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from bertjob.cluster import scheduler
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.watch import Watch
from bertjob.cluster.scheduler_answers import Answer
from bertjob.errors import DataError
from bertjob.rundir.resume import elsewhere


class Tail:
    """Reads on from where it stopped. The file is opened anew each time: that is when NFS looks for what is new."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Begin at byte `offset`."""
        self.path = path
        self._offset = offset
        self._inode: int | None = None
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode

    def read(self) -> str:
        """What came since the last time, maybe nothing; a file that was replaced or cut is read from its start."""
        try:
            with self.path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size < self._offset or self._inode not in (None, status.st_ino):
                    self._offset = 0
                self._inode = status.st_ino
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return ""
        self._offset += len(added)
        return self._decode(added)


_POLL_S = 0.5


def read(run: Run, rank: int | None = None) -> str:
    """The job's log as it is now, or one rank's own.

    Raises:
        DataError: there is no such log (yet); says which there are.
    """
    path = run.run_dir.log(run.submission.job_id, rank)
    if not run.run_dir.path.is_dir():
        raise DataError(f"{run.path}: {elsewhere(submitted=run.scheduler.queues)}")
    if not path.exists():
        there = sorted(log.name for log in run.run_dir.logs.glob("*.out"))
        raise DataError(
            f"{path}: there is no such log; {'there are ' + ', '.join(there) if there else 'nor any other'}"
        )
    return Tail(path).read()


def follow(
    run: Run, rank: int | None = None, ask: Callable[[Collection[Run]], Answer] = scheduler.ask
) -> Iterator[str]:
    """The job's log, or one rank's own, piece by piece as it grows; ends when the run has ended and all is told.

    The file need not exist yet: a job that waits in the queue has none.
    """
    tail = Tail(run.run_dir.log(run.submission.job_id, rank))
    watch = Watch([run], ask)
    while True:
        ended = bool(watch.look())  # looked at before the text is read: what is read then is all
        text = tail.read()
        if text:
            yield text
        elif ended:
            return
        else:
            time.sleep(_POLL_S)
