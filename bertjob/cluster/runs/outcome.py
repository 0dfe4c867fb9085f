"""Has a run ended, and how? Judged from the scheduler's word, the run's own heartbeat and its process."""

from dataclasses import dataclass

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.slurm.queue import JobInfo, JobState
from bertjob.rundir.state import ENDED, RunState

STALE_S = 120.0
"""A heartbeat older than this is overdue: training writes one at every logged step and at least each half minute."""


LOST = "lost"
"""The word for a run that is gone and left none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        success: it did all it was to do.
        word: completed, failed, cancelled, timeout … as the scheduler says; interrupted: stopped with a checkpoint to
            go on from; lost: it is gone and left no word.
    """

    success: bool
    word: str


_COMPLETED = Outcome(True, JobState.COMPLETED)
_FAILED = Outcome(False, JobState.FAILED)
_INTERRUPTED = Outcome(False, "interrupted")
_LOST = Outcome(False, LOST)


def own_state(run: Run, state: RunState | None) -> RunState | None:
    """The heartbeat if the run's newest submission wrote it, not one before.

    A scheduler's jobs are told apart by id, because the clocks of nodes differ; local runs by time.
    """
    if state is None:
        return None
    if run.local:
        return state if state.time >= run.submission.time else None
    return state if state.job_id in ("", run.submission.job_id) else None


def of_job(run: Run, info: JobInfo, state: RunState | None, now: float, *, controller_answered: bool) -> Outcome | None:
    """The outcome of a job in a scheduler; None while it has not ended or nobody can tell.

    Where the scheduler has forgotten the job, or cannot be asked, the heartbeat decides: a training that says done is
    done. One that stopped otherwise may be waiting in the queue again, which only a controller that answers can deny.
    """
    if info.state.live:
        return None
    if info.state.ended:
        return _COMPLETED if info.state is JobState.COMPLETED else Outcome(False, info.state)
    state = own_state(run, state)
    if state is not None and state.phase == "done":
        return _COMPLETED
    if not controller_answered:
        return None
    if state is not None and state.phase in ENDED:
        return _FAILED if state.phase == "failed" else _INTERRUPTED
    last_sign = run.submission.time if state is None else state.time
    return _LOST if now - last_sign > STALE_S else None


def of_local(run: Run, state: RunState | None, now: float, *, alive: bool, here: bool) -> Outcome | None:
    """The outcome of a run without a scheduler; None while it has not ended.

    Args:
        run: the run.
        state: its heartbeat.
        now: seconds since the epoch.
        alive: its process is there; read only if `here`.
        here: it was started on this machine. Elsewhere its heartbeat alone tells.
    """
    if here and alive:
        return None
    state = own_state(run, state)
    if state is not None and state.phase in ENDED:
        return {"done": _COMPLETED, "failed": _FAILED}.get(state.phase, _INTERRUPTED)
    last_sign = run.submission.time if state is None else state.time
    return _LOST if here or now - last_sign > STALE_S else None
