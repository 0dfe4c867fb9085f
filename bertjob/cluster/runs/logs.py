"""A run's log from its start, to its real end: requeues append to the same file."""

import time
from collections.abc import Callable, Collection, Iterator

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.tail import Tail
from bertjob.cluster.runs.watch import Watch
from bertjob.cluster.slurm import queue
from bertjob.cluster.slurm.queue import Answer
from bertjob.errors import DataError

_POLL_S = 0.5


def read(run: Run, rank: int | None = None) -> str:
    """The job's log as it is now, or one rank's own.

    Raises:
        DataError: there is no such log (yet); says which there are.
    """
    path = run.run_dir.log(run.submission.job_id, rank)
    if not path.exists():
        there = sorted(log.name for log in run.run_dir.logs.glob("*.out"))
        raise DataError(
            f"{path}: there is no such log; {'there are ' + ', '.join(there) if there else 'nor any other'}"
        )
    return Tail(path).read()


def follow(run: Run, rank: int | None = None, ask: Callable[[Collection[str]], Answer] = queue.ask) -> Iterator[str]:
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
