"""Wait until a job starts, for so long and no longer."""

import time
from collections.abc import Callable, Collection, Sequence

from bertjob.cluster import scheduler
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import outcome, own_state
from bertjob.cluster.scheduler_answers import Answer, JobInfo, JobState
from bertjob.config import walltime
from bertjob.errors import PendingError, SchedulerError
from bertjob.rundir.state import read_state

_POLL_S = 0.5
_FIRST_GAP_S = 1.0
_LONGEST_GAP_S = 10.0


def _cancel(runs: Collection[Run]) -> None:
    scheduler.cancel(runs, at_once=True)


def wait_for_start(
    runs: Sequence[Run],
    limit: float,
    on_look: Callable[[], object] = lambda: None,
    notify: Callable[[str], object] = lambda line: None,
    *,
    ask: Callable[[Collection[Run]], Answer] = scheduler.ask,
    withdraw: Callable[[Run], bool] = scheduler.withdraw,
    cancel: Callable[[Collection[Run]], object] = _cancel,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> JobInfo:
    """Block until a job has left the queue, one way or another; what the scheduler says of it then.

    A job that starts while it is given up is not cancelled. While the scheduler does not answer, the job may have
    started, so that nothing is done until it does; a run that writes its heartbeat has started in any case.

    Args:
        runs: a run whose job was submitted just now, and those of a chain behind it, whose time does not count.
        limit: seconds after which it is taken out of the queue, with those behind it.
        on_look: called about twice a second.
        notify: is given a line where the scheduler does not tell whether the job may be taken out.
        ask: asks where jobs stand.
        withdraw: takes a job out of the queue unless it has started.
        cancel: takes those behind it out, which cannot start.
        clock: seconds that only go up.
        sleep: waits for so many seconds.

    Raises:
        PendingError: it was still waiting after that time, and is cancelled.
    """
    run = runs[0]
    began, next_ask, gap, reason, said = clock(), 0.0, _FIRST_GAP_S, "", ""
    while own_state(run, state := read_state(run.run_dir.state)) is None:
        waited = clock() - began
        if waited >= next_ask:
            info = ask([run]).job(run)
            started = info.state.live and info.state is not JobState.PENDING and info.confirmed
            if started or outcome(run, info, state, waited) is not None:
                return info
            reason = info.reason or reason
            next_ask, gap = waited + gap, min(2 * gap, _LONGEST_GAP_S)
            if waited < limit:
                next_ask = min(next_ask, limit)
            elif (why := _withdrawn(run, withdraw)) is None:
                raise PendingError(f"{_given_up(run, limit, reason)}{_with_those_behind(runs[1:], cancel)}")
            elif why != said and (said := why):
                notify(f"{why}: job {run.submission.job_id} may have started, so it is left alone until that is known")
        on_look()
        sleep(_POLL_S)
    return JobInfo(JobState.RUNNING)


def _withdrawn(run: Run, withdraw: Callable[[Run], bool]) -> str | None:
    """None when the job is out of the queue; else why that is not known, empty when it has started."""
    try:
        return None if withdraw(run) else ""
    except SchedulerError as error:
        return str(error)


def _with_those_behind(runs: Sequence[Run], cancel: Callable[[Collection[Run]], object]) -> str:
    """Cancel the rest of a chain, and say so."""
    ids = ", ".join(run.submission.job_id for run in runs)
    if not runs:
        return ""
    try:
        cancel(runs)
    except SchedulerError as error:
        return f"; those behind it cannot start, and stay in the queue: {ids} ({error})"
    return f"; those behind it are cancelled too: {ids}"


def _given_up(run: Run, limit: float, reason: str) -> str:
    why = f" ({reason})" if reason else ""
    return (
        f"job {run.submission.job_id} was still pending{why} after {walltime.render(round(limit))}, and is cancelled;"
        f" its run directory is {run.path}"
    )
