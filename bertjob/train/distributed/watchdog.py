"""The watch of one rank: a thread that sees to it that ranks leave together, and soon.

A rank that waits in a collective for a rank that has left would wait for a very long time. So each rank looks twice a
second whether another one has announced its departure, and then leaves as well. Signals are the loop's business while
it trains (it writes a checkpoint at the next step); in all other phases nothing would be lost, and the watch leaves at
once on behalf of the main thread, which may be in the middle of making features or in a collective.
"""

import contextlib
import enum
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.train.distributed.departure import LOST_PEER, TERMINATED, Departure, Notices, leave_note, take_note
from bertjob.train.distributed.pulse import LOOK_SECONDS, Pulse
from bertjob.train.distributed.signals import StopSignals

_POLL_SECONDS = 0.5
_FAREWELL_SECONDS = 3.0
_RANK_0_FIRST_SECONDS = 0.2
_ENDED_EARLY = "ended by SIGTERM before the ranks had met, as when another one has failed"
_RANK_0_IS_GONE = "rank 0 is gone: it was killed, or its node failed"
_TERM = "SIGTERM"


class _Stage(enum.IntEnum):
    """How far the ranks have come together; they only go on."""

    GATHERING = 0
    """They have not all met: a TERM comes from a launcher because one of them has failed."""
    TOGETHER = 1
    """Their signs of life are looked at."""
    OVER = 2
    """This rank has come to its end: it leaves for no reason any more, but still shows that it lives."""
    PARTED = 3
    """All have."""


class Watch:
    """Watches from its creation until `parted`."""

    def __init__(
        self, signals: StopSignals, who: str, tell: Callable[[Departure, list[str]], object], note: Path | None
    ) -> None:
        """Begin, on a thread of its own.

        Args:
            signals: where stop signals arrive.
            who: this rank in a departure.
            tell: says why this process ends and, on rank 0, which ranks are silent; called once, from any thread.
            note: where ranks that have not met leave word for each other; None for a rank alone.
        """
        self._signals = signals
        self._who = who
        self._tell = tell
        self._note = note
        self._notices: Notices | None = None
        self._stage = _Stage.TOGETHER if note is None else _Stage.GATHERING
        self._deferred = False
        self._pulse: Pulse | None = None
        self._beats, self._next_beat = 0, 0.0
        self._departing = threading.Lock()
        threading.Thread(target=self._run, name="watch", daemon=True).start()

    @property
    def signalled(self) -> bool:
        """Whether a stop signal came to this rank."""
        return bool(self._signals.received)

    @property
    def is_deferred(self) -> bool:
        """Whether the loop decides when this process ends."""
        return self._deferred

    @property
    def is_over(self) -> bool:
        """Whether the ranks end in good order."""
        return self._stage >= _Stage.OVER

    def connect(self, notices: Notices | None) -> None:
        """Watch the other ranks as well, if there are any."""
        self._notices = notices

    def met(self, pulse: Pulse | None) -> None:
        """All ranks have come; from now on their signs of life are looked at."""
        self._pulse = pulse
        self._stage = _Stage.TOGETHER

    def lost(self, line: str) -> NoReturn:
        """Other ranks are not heard of any more: leave, so that the run may start again."""
        own = Departure(REQUEUE_EXIT_CODE, self._who, line, silent=True)
        if self._note is not None:
            leave_note(self._note, own)  # for the script: a launcher may kill rank 0 before it has said anything
        # The board may be what cannot be reached, and then it does not answer.
        threading.Timer(_FAREWELL_SECONDS, self._leave, [own, False]).start()
        self._leave(self._announce(own))

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Inside, a signal to this rank only sets `signalled`.

        An error leaves it so: the main thread reports it. A launcher sends TERM to all ranks when one has been killed,
        so the rank that then loses its connection has a signal as well, which is not why the run ends.
        """
        self._deferred = True
        yield
        self._deferred = False

    def stop(self) -> None:
        """Leave no more: the ranks end in good order. They still show each other that they live."""
        self._stage = _Stage.OVER

    def parted(self) -> None:
        """All ranks have come to their end."""
        self._stage = _Stage.PARTED
        if self._pulse is not None:
            self._pulse.stop()

    def depart(self, code: int, line: str) -> NoReturn:
        """End this process, and with it the run; if another rank announced its departure before, for that reason."""
        if self._who:
            if self._notices is None and self._note is not None:
                leave_note(self._note, Departure(code, self._who, line))
            time.sleep(_RANK_0_FIRST_SECONDS)  # what went wrong on all ranks is rank 0's to tell
        self._leave(self._announce(Departure(code, self._who, line)))

    def _run(self) -> None:
        while self._stage < _Stage.PARTED:
            signal = self._signals.wait(_POLL_SECONDS)
            departure = self._announced() or self._beat()
            if departure is None and signal and not self._deferred and not self.is_over:
                departure = self._told_by(signal)
            if departure is not None and not self.is_over:
                self._leave(departure)

    def _beat(self) -> Departure | None:
        """Show that this rank lives, and read what others have shown; the board answers this very thread."""
        if self._notices is None or self._pulse is None:
            return None
        self._pulse.answered()
        if time.monotonic() < self._next_beat:
            return None
        self._next_beat = time.monotonic() + LOOK_SECONDS
        try:
            self._beats += 1
            self._notices.beat(self._beats)
            if not self._who:
                self._pulse.read(self._notices.beats())
        except RuntimeError:
            return Departure(1, self._who, _RANK_0_IS_GONE)
        return None

    def _told_by(self, signal: str) -> Departure:
        """What a signal outside of the loop means.

        Before the ranks have met, TERM comes from a launcher that ends all of them because one has failed, and whose
        exit code might be ours: this is no reason to start again.
        """
        if signal != _TERM or self._stage > _Stage.GATHERING:
            line = f"stopped by a signal ({signal}); start again to go on"
            return self._announce(Departure(REQUEUE_EXIT_CODE, self._who, line))
        ended = Departure(TERMINATED, self._who, _ENDED_EARLY)
        if self._who or self._note is None:
            return ended
        return self._announce(take_note(self._note) or ended)

    def _announce(self, own: Departure) -> Departure:
        if self._notices is None:
            return own
        try:
            return self._notices.announce(own)
        except RuntimeError:  # nobody can read it; a signal comes from the launcher then, as rank 0 was killed
            told = own.silent or (own.failed and not own.line.startswith(LOST_PEER))
            return own if told else Departure(1, self._who, _RANK_0_IS_GONE)

    def _announced(self) -> Departure | None:
        if self._notices is None:
            return None
        try:
            return self._notices.departure()
        except RuntimeError:
            return Departure(1, self._who, _RANK_0_IS_GONE)

    def _leave(self, departure: Departure, farewell: bool = True) -> NoReturn:
        self._departing.acquire()  # for good: one thread is enough to end a process
        try:
            silent: list[str] = []
            with contextlib.suppress(RuntimeError):
                if self._notices is not None and farewell:
                    silent = self._notices.leave(_FAREWELL_SECONDS)
            departure = _judged(departure, silent)
            self._tell(departure, silent)
        finally:
            os._exit(departure.code)


def _judged(departure: Departure, silent: list[str]) -> Departure:
    """What rank 0 reports where ranks are silent: after a TERM, that they are gone.

    A launcher sends TERM when a rank has been killed, Slurm before it preempts a job: then all ranks answer.
    """
    if not silent or departure.failed or _TERM not in departure.line:
        return departure
    return Departure(1, "", LOST_PEER)
