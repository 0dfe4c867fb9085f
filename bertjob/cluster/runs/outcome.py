"""Has a run ended, and how? Judged from the scheduler's word, the run's own heartbeat and its process."""

from dataclasses import dataclass

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import JobInfo, JobState
from bertjob.rundir import ending
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

    A scheduler's jobs are told apart by id, because the clocks of nodes differ; runs without ids by time.
    """
    if state is None:
        return None
    if run.scheduler.queues:
        elsewhere = state.cluster and run.submission.cluster not in ("", state.cluster)
        return state if state.job_id in ("", run.submission.job_id) and not elsewhere else None
    return state if state.time >= run.submission.time else None


def outcome(run: Run, info: JobInfo, state: RunState | None, silent: float) -> Outcome | None:
    """How a run ended; None while it has not ended or nobody can tell.

    Where the scheduler has forgotten the job, or cannot be asked, the heartbeat decides: a training that says done is
    done. One that stopped otherwise may be waiting in the queue again, which only a scheduler that answers can deny;
    then a script that has left an exit code has failed.

    Args:
        run: the run.
        info: what its scheduler says.
        state: its heartbeat.
        silent: seconds for which the run has certainly written no heartbeat (`sightings.Silence.certain`): what is seen
            to change counts here, because another machine's clock may be minutes off.
    """
    state = own_state(run, state)
    done = state is not None and state.phase == "done"
    if info.state.live:
        return _COMPLETED if done and not info.confirmed else None
    if info.state.ended:
        return _COMPLETED if info.state is JobState.COMPLETED else Outcome(False, info.state)
    if done:
        return _COMPLETED
    if not info.asked:
        return None
    if state is not None and state.phase in ENDED:
        return _FAILED if state.phase == "failed" else _INTERRUPTED
    left = ending.read(run.run_dir, run.submission.job_id)
    failed = left is not None and left.code != 0
    if state is None and failed:  # it ended before there were ranks, which might still be at work without it
        return _FAILED
    if not info.gone and silent <= STALE_S:
        return None
    return _FAILED if failed else _LOST


def word(run: Run, info: JobInfo, state: RunState | None, silent: float) -> str:
    """Where a run stands, in one word; unknown when nobody can tell. The arguments are those of `outcome`."""
    if info.state is not JobState.UNKNOWN:
        return info.state
    ended = outcome(run, info, state, silent)
    if ended is not None:
        return ended.word
    return JobState.UNKNOWN if run.scheduler.queues else JobState.RUNNING
