"""Watch runs until they end: read their heartbeats often and ask the scheduler seldom."""

import logging
import time
from collections.abc import Callable, Collection, Sequence

from bertjob.cluster import scheduler
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.outcome import Outcome, outcome, own_state
from bertjob.cluster.runs.sightings import NONE, Sightings
from bertjob.cluster.scheduler_answers import Answer
from bertjob.rundir.state import ENDED, RunState, read_state

ASK_EVERY_S = 10.0
"""Seconds between questions to the scheduler."""
_LAST_WORD_S = 2.0
"""A training that says it has ended leaves the queue about this much later: then one question comes early."""

_log = logging.getLogger(__name__)
_POLL_S = 0.5
_FIRST_GAP_S = 1.0


class Watch:
    """Watches runs. A `look` is cheap: a queue is asked about all of them at once, and every ten seconds only."""

    def __init__(
        self,
        runs: Sequence[Run],
        ask: Callable[[Collection[Run]], Answer] = scheduler.ask,
        clock: Callable[[], float] = time.monotonic,
        first_gap: float = ASK_EVERY_S,
    ) -> None:
        """Watch `runs`.

        Args:
            runs: the runs.
            ask: who says where jobs stand.
            clock: seconds that only go up.
            first_gap: seconds from the first question to the second; each gap is twice the one before, up to ten
                seconds. A short one tells soon of jobs that fail at once.
        """
        self._going = list(runs)
        self._ended: dict[str, Outcome] = {}
        self._ask = ask
        self._clock = clock
        self._answer = Answer(controller="not asked yet")
        self._next_ask = float("-inf")
        self._gap = first_gap
        self._said_to_end: set[str] = set()
        self._sightings = Sightings()

    def look(self) -> dict[str, Outcome]:
        """The outcomes of the runs that have ended, by their paths."""
        states = {run.path: read_state(run.run_dir.state) for run in self._going}
        queued = [run for run in self._going if run.scheduler.queues]
        if self._due(states) and queued:
            self._answer = self._asked(queued)
            self._next_ask = self._clock() + min(self._gap, ASK_EVERY_S)
            self._gap *= 2
        here = [run for run in self._going if not run.scheduler.queues]
        answer = self._answer.updated(self._ask(here)) if here else self._answer
        silences = self._sightings.look(self._going, states, time.time())
        for run in list(self._going):
            ended = outcome(run, answer.job(run), states[run.path], silences.get(run.path, NONE).certain)
            if ended is not None:
                self._ended[run.path] = ended
                self._going.remove(run)
        return self._ended

    def _due(self, states: dict[str, RunState | None]) -> bool:
        said = {run.path for run in self._going if _says_it_ended(own_state(run, states[run.path]))}
        if said - self._said_to_end:
            self._next_ask = min(self._next_ask, self._clock() + _LAST_WORD_S)
        self._said_to_end = said
        return self._clock() >= self._next_ask

    def _asked(self, runs: Collection[Run]) -> Answer:
        answer = self._ask(runs)
        if answer.controller and answer.controller != self._answer.controller:
            _log.warning("%s; watching the run's own heartbeat", answer.controller)
        return answer


def _says_it_ended(state: RunState | None) -> bool:
    return state is not None and state.phase in ENDED


def wait(
    runs: Sequence[Run],
    on_look: Callable[[], object] = lambda: None,
    ask: Callable[[Collection[Run]], Answer] = scheduler.ask,
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
