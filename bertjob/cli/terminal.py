"""The terminal and the job stay sane when a person stops bertjob by Ctrl-Z, or somebody ends it by TERM or HUP.

Bars and tables hide the cursor. A process that is stopped or ended by the signal itself leaves it hidden.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SHOW_CURSOR = b"\x1b[?25h"  # DECTCEM; ECMA-48's private mode 25
_said_when_stopped: list[str] = []


def stay_sane() -> None:
    """Handle the signals that end or stop this process, unless whoever has started it wants them ignored."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL and any(map(os.isatty, (1, 2))):
        signal.signal(signal.SIGTSTP, _stop)


@contextmanager
def saying_when_stopped(line: str) -> Iterator[None]:
    """Inside, Ctrl-Z prints this line: what goes on meanwhile."""
    _said_when_stopped.append(line)
    try:
        yield
    finally:
        _said_when_stopped.remove(line)


def _end(number: int, frame: FrameType | None) -> None:
    _show_cursor()
    sys.exit(128 + number)  # so that all that is open is closed: bars, temporary files, processes


def _stop(number: int, frame: FrameType | None) -> None:
    _show_cursor()
    for line in _said_when_stopped:
        os.write(2, f"\r\n{line}\r\n".encode(errors="replace"))
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # here it is stopped, until it is continued
    signal.signal(number, _stop)


def _show_cursor() -> None:
    for terminal in filter(os.isatty, (1, 2)):
        os.write(terminal, _SHOW_CURSOR)
