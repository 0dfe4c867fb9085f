"""Signals that ask a run to stop: USR1 before the time limit, TERM from the scheduler, Ctrl-C from a person.

Slurm sends what --signal of a person's script says to every process of a step, be it USR2 or QUIT.

Imports nothing heavy, so that it listens while torch is still being imported.
"""

import contextlib
import os
import select
import signal
from types import FrameType

STOP_SIGNALS = (
    signal.SIGUSR1,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGUSR2,
    signal.SIGQUIT,
    signal.SIGALRM,
    signal.SIGXCPU,
)


class StopSignals:
    """Remembers the first stop signal of this process; none of them ends it any more.

    Python runs its handlers between two instructions of the main thread, which may be far away in a collective. The
    number of a signal is therefore also written to a pipe, where `wait` sees it at once from any thread.
    """

    def __init__(self) -> None:
        """Start to listen; in the main thread, once a process."""
        self._first = ""
        self._pipe, end = os.pipe()
        os.set_blocking(self._pipe, False)
        os.set_blocking(end, False)
        signal.set_wakeup_fd(end, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self._handle)
        # A forked worker process must die by the TERM that its pool sends, be it in the middle of the fork.
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_as_before)

    @property
    def received(self) -> str:
        """Name of the first stop signal, e.g. ``SIGUSR1``; empty as long as none came."""
        return self._first

    def wait(self, seconds: float) -> str:
        """Wait for a stop signal, `seconds` at most; returns `received`."""
        select.select([self._pipe], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._pipe, 64):
                if number in STOP_SIGNALS:
                    self._note(number)
        return self._first

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._note(number)

    def _note(self, number: int) -> None:
        self._first = self._first or signal.Signals(number).name


def _block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _as_before() -> None:
    signal.set_wakeup_fd(-1)
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _unblock()
