"""Cancel runs, and see that they end: with a checkpoint if one comes in time, without one if not."""

import time
from collections.abc import Callable, Collection, Sequence

import msgspec

from bertjob.cluster import scheduler
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import STALE_S, Outcome
from bertjob.cluster.runs.watch import Watch
from bertjob.cluster.scheduler_answers import Answer
from bertjob.rundir.state import RunState, age, read_state

GRACE_S = 120.0
"""How long a run may take for its checkpoint before it is ended without one."""
SAY_AFTER_S = 60.0
"""Without a checkpoint after so many seconds, a run is named to the person who waits."""
_PROOF_OF_LIFE_S = 45.0
"""A heartbeat that was overdue, and does not change within so many seconds, is that of a run which hangs: one at work
writes each half minute, and it may only have seemed overdue, by another node's clock."""
_POLL_S = 0.5
_FIRST_GAP_S = 1.0


class Stopping(msgspec.Struct, frozen=True):
    """A run that was asked to stop, as it stood then.

    Attributes:
        run: the run.
        latest: name of its newest checkpoint; empty without one.
        state: its heartbeat.
        overdue: the heartbeat was overdue already.
    """

    run: Run
    latest: str
    state: RunState | None
    overdue: bool

    @classmethod
    def of(cls, run: Run) -> "Stopping":
        """The run as it stands now."""
        state = read_state(run.run_dir.state)
        return cls(run, latest(run), state, state is not None and age(state) > STALE_S)

    @property
    def hangs(self) -> bool:
        """Whether the heartbeat was overdue and has not changed since; clocks of nodes differ, so changes count."""
        return self.overdue and read_state(self.run.run_dir.state) == self.state

    @property
    def saved(self) -> bool:
        """Whether a checkpoint has come since."""
        return latest(self.run) != self.latest


def latest(run: Run) -> str:
    """Name of a run's newest checkpoint; empty without one."""
    try:
        return run.run_dir.latest.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def ask_to_stop(runs: Sequence[Run]) -> tuple[Stopping, ...]:
    """Ask runs to stop with a checkpoint, and take those that wait out of the queue.

    Raises:
        SchedulerError: the scheduler refused or is away.
        BertjobError: a local run was started on another machine.
    """
    stopping = tuple(Stopping.of(run) for run in runs)
    scheduler.cancel(runs)
    return stopping


def see_to_the_end(
    stopping: Sequence[Stopping],
    grace: float = GRACE_S,
    notify: Callable[[str], object] = lambda line: None,
    on_look: Callable[[], object] = lambda: None,
    *,
    ask: Callable[[Collection[Run]], Answer] = scheduler.ask,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> list[Outcome]:
    """Wait until runs have ended, and end those that write no checkpoint in time; how each has ended.

    Args:
        stopping: what was asked to stop.
        grace: seconds from now until runs are ended without a checkpoint.
        notify: is given a line about a run that writes no checkpoint.
        on_look: called about twice a second.
        ask: asks the schedulers where jobs stand.
        clock: seconds that only go up.
        sleep: waits for so many seconds.

    Raises:
        SchedulerError: the scheduler refused to end a run, or is away.
    """
    watch, began = Watch([one.run for one in stopping], ask, clock, first_gap=_FIRST_GAP_S), clock()
    named: set[str] = set()
    told_to_end: set[str] = set()
    while len(ended := watch.look()) < len(stopping):
        waited = clock() - began
        going = [one for one in stopping if one.run.path not in ended and one.run.path not in told_to_end]
        for one in going:
            if SAY_AFTER_S <= waited < grace and one.run.path not in named and not one.saved:
                named.add(one.run.path)
                rest = f"it is ended without one after {grace:g} s"
                notify(f"{_name(one.run)}: no checkpoint after {waited:.0f} s; {rest}")
        due = [one for one in going if waited >= grace or (waited >= _PROOF_OF_LIFE_S and one.hangs)]
        for one in due:
            why = "its heartbeat has stopped" if waited < grace else f"it has not ended within {grace:g} s"
            notify(f"{_name(one.run)}: {why}; ended at once")
        if due:
            scheduler.cancel([one.run for one in due], at_once=True)
            told_to_end |= {one.run.path for one in due}
        on_look()
        sleep(_POLL_S)
    return [ended[one.run.path] for one in stopping]


def _name(run: Run) -> str:
    return f"{run.name} ({run.submission.job_id})"
