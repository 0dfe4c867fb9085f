"""How long runs have been silent, though clocks of machines differ by minutes: changes count, not clocks.

A heartbeat says when it was written by the clock of its node. What this machine has seen of it, by its own clock, sets
bounds: it is at least as old as it has been seen unchanged, and younger than the last look at the one before it. Each
look is remembered, so that a second `status` knows more than the first.
"""

import contextlib
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.index import state_folder
from bertjob.cluster.runs.outcome import own_state
from bertjob.rundir import atomic
from bertjob.rundir.state import ENDED, RunState

SKEW_S = 1800.0
"""Clocks of one cluster differ by less: munge refuses messages that are five minutes old (munged(8), --help: TTL)."""
_KEPT_S = 7 * 86400.0
"""Runs that nobody has looked at for so long are forgotten."""


class Silence(msgspec.Struct, frozen=True):
    """Seconds since a heartbeat was written: what its clock says within what was seen, and what is certain."""

    likely: float
    certain: float


NONE = Silence(0.0, 0.0)
"""Of a run that has ended by its own word, or that nobody has looked at."""


class Sighting(msgspec.Struct, frozen=True):
    """A heartbeat as this machine saw it, in seconds since the epoch."""

    beat: float
    """When it was written, by its own clock; of a run without one, when that was submitted."""
    first: float
    """When it was first seen, by ours."""
    last: float
    """When it was last seen."""
    before: float | None = None
    """When the heartbeat before it was last seen; None where it was not."""

    def silence(self, now: float) -> Silence:
        """How old the heartbeat is."""
        by_clock, unchanged = max(0.0, now - self.beat), max(0.0, now - self.first)
        most = by_clock if self.before is None else now - self.before
        return Silence(max(unchanged, min(by_clock, most)), max(unchanged, min(by_clock, most) - SKEW_S))


class Sightings:
    """What this machine has seen of heartbeats, by the paths of the runs."""

    def __init__(self, seen: Mapping[str, Sighting] | None = None) -> None:
        """Begin with what was seen before."""
        self._seen = dict(seen or {})
        self._has_news = False

    def look(self, runs: Iterable[Run], states: Mapping[str, RunState | None], now: float) -> dict[str, Silence]:
        """How long runs that have not ended by their own word are silent, by path.

        Of a run without a heartbeat, what counts is how long ago it was submitted: by our clock, if that was here.

        Args:
            runs: the runs.
            states: what is in their state files now, by path.
            now: seconds since the epoch, by this machine's clock.
        """
        found, here = {}, socket.gethostname()
        for run in runs:
            state, submitted = own_state(run, states[run.path]), run.submission
            if state is None and submitted.host == here:
                found[run.path] = Silence(now - submitted.time, now - submitted.time)
            elif state is None or state.phase not in ENDED:
                found[run.path] = self._sight(run.path, submitted.time if state is None else state.time, now)
        return found

    def _sight(self, path: str, beat: float, now: float) -> Silence:
        former = self._seen.get(path)
        sighting = Sighting(beat, now, now, former.last if former else None)
        if former is not None and former.beat == beat and former.first <= now:
            sighting = msgspec.structs.replace(former, last=now)
        self._seen[path] = sighting
        self._has_news = True
        return sighting.silence(now)

    @classmethod
    def remembered(cls) -> "Sightings":
        """Those of earlier commands on this machine; none where they cannot be read."""
        try:
            return cls(msgspec.json.decode(_file().read_bytes(), type=dict[str, Sighting]))
        except (OSError, msgspec.MsgspecError):
            return cls()

    def remember(self) -> None:
        """Keep them for later commands, if there was something to see; where nothing can be written, they are lost."""
        if not self._has_news:
            return
        oldest = time.time() - _KEPT_S
        kept = {path: sighting for path, sighting in self._seen.items() if sighting.last >= oldest}
        with contextlib.suppress(OSError):
            _file().parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(_file(), msgspec.json.encode(kept))


def _file() -> Path:
    """One for each machine, whose clock it is by: the user's folder is shared by several login nodes."""
    return state_folder() / f"heartbeats-{socket.gethostname()}.json"
