"""Wait until runs have ended."""

import time
from collections.abc import Callable, Collection, Sequence

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import Outcome
from bertjob.cluster.runs.watch import Watch
from bertjob.cluster.slurm import queue
from bertjob.cluster.slurm.queue import Answer

_POLL_S = 0.5
_FIRST_GAP_S = 1.0


def wait(
    runs: Sequence[Run],
    on_look: Callable[[], object] = lambda: None,
    ask: Callable[[Collection[str]], Answer] = queue.ask,
) -> list[Outcome]:
    """Block until all runs have ended; their outcomes in the same order.

    A job that is requeued has not ended. While the scheduler is away, or has no accounting, the runs' own heartbeats
    tell; what nobody can tell is waited for.

    Args:
        runs: the runs.
        on_look: called about twice a second, e.g. to show progress.
        ask: who says where jobs stand.
    """
    watch = Watch(runs, ask, first_gap=_FIRST_GAP_S)
    while len(ended := watch.look()) < len({run.path for run in runs}):
        on_look()
        time.sleep(_POLL_S)
    return [ended[run.path] for run in runs]
