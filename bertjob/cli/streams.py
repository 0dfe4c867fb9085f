"""The doors to the terminal: all that a verb prints passes one of them, and control characters become visible there.

Names of runs and files, job logs and what other programs complain about are written by others, who can put the commands
of a terminal into them: move the cursor over what was said, set its title, have it type. `opened` puts a door in front
of stdout and stderr for everything that is written to them. rich goes around it, as its own colours are such commands:
`bertjob.cli.output` makes its consoles, which do the same to what they show.

Scripts and logs keep their bytes where no terminal reads them (`exact`), and a log its colours where one does.
"""

import contextlib
import io
import os
import re
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

from bertjob.text import visible

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

_OF_TABLE, _OF_RGB = r"[34]8[;:]5[;:]\d{1,3}", r"[34]8[;:]2[;:]{1,2}\d{1,3}(?:[;:]\d{1,3}){2}"
_CODE = rf"(?:0?[0-79]|2[1-79]|[34][0-79]|9[0-7]|10[0-7]|{_OF_TABLE}|{_OF_RGB}|)"
_COLOUR = re.compile(rf"\x1b\[{_CODE}(?:;{_CODE})*m")
"""Select Graphic Rendition of ECMA-48 (8.3.117): colours, bold and the like; not 8, which hides what follows."""
_BEGUN = re.compile(r"(?:\r|\x1b(?:\[[\d;:]*)?)\Z")
"""What may go on in the next piece of a text."""
_RESET = "\x1b[0m"


class Door(io.TextIOBase):
    """A stream behind which no control character is anything but visible."""

    def __init__(self, stream: TextIO) -> None:
        """A door in front of `stream`."""
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self.stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """What becomes of characters that the encoding lacks."""
        return self.stream.errors

    def write(self, text: str | bytes) -> int:  # click writes completions as bytes
        """Write with visible control characters."""
        self.stream.write(visible(text if isinstance(text, str) else text.decode(errors="replace")))
        return len(text)

    def flush(self) -> None:
        """Have all of it written."""
        self.stream.flush()

    def isatty(self) -> bool:
        """Whether a terminal reads it."""
        return self.stream.isatty()

    def fileno(self) -> int:
        """Its number."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True


_STDERR = 2


class _Lossy(io.RawIOBase):
    """A file descriptor that takes everything: what it cannot write is lost, and the work goes on.

    A job that is queued stays queued, whether or not somebody reads its id.
    """

    def __init__(self, number: int) -> None:
        """What is written goes to the descriptor `number`."""
        self._number = number
        self.failure: OSError | None = None
        """Why something was lost; None: nothing was."""

    def write(self, data: "Buffer") -> int:
        """Write all or some, or nothing from the first failure on."""
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # somebody has made it non-blocking, and the reader is slow
                select.select([], [self._number], [])
            except OSError as error:
                self.failure = error
        return size

    def fileno(self) -> int:
        """Its number."""
        return self._number

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._number)

    def writable(self) -> bool:
        """It is."""
        return True


def _lossy(former: TextIO | None, number: int) -> TextIO:
    """A stream like the former one (None: it was closed before Python began) that loses what cannot be written."""
    return io.TextIOWrapper(
        io.BufferedWriter(_Lossy(number)),
        encoding="utf-8" if former is None else former.encoding,
        errors="backslashreplace" if former is None else former.errors,
        newline="\n",
        line_buffering=number == _STDERR or os.isatty(number),
    )


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Inside, doors are in front of stdout and stderr, and nothing that is written to them fails.

    A number of theirs that was closed leads nowhere then: no file of ours may get it, or all would print into that.
    """
    for number in range(3):
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        os.open(os.devnull, os.O_RDWR)  # it gets the smallest number that is free
    former = sys.stdin, sys.stdout, sys.stderr
    with open(0, closefd=False) as nothing:
        sys.stdin = sys.stdin or nothing
        sys.stdout, sys.stderr = Door(_lossy(sys.stdout, 1)), Door(_lossy(sys.stderr, _STDERR))
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdin, sys.stdout, sys.stderr = former


def failure() -> OSError | None:
    """Why something that was printed to stdout is lost; None where nothing is, as far as it was flushed."""
    raw = getattr(getattr(behind(sys.stdout), "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Lossy) else None


def end_unread() -> None:
    """End what prints until somebody has read enough, like ``logs --follow | head``, once nobody reads."""
    sys.stdout.flush()
    if failure() is not None:
        raise click.exceptions.Exit(0)


def behind(stream: TextIO) -> TextIO:
    """The stream without its door, for what makes control characters visible by itself."""
    return stream.stream if isinstance(stream, Door) else stream


def exact(text: str) -> None:
    """Print a result whose bytes count, like a script: as it is, or visibly where a terminal reads it."""
    stream = behind(sys.stdout)
    if stream.isatty() or not hasattr(stream, "buffer"):
        stream.write(visible(text) if stream.isatty() else text)
        return
    stream.flush()
    stream.buffer.write(text.encode(errors="surrogateescape"))  # UTF-8, as the file of a run, whatever the locale


class LogText:
    """Prints pieces of a job's log: as it is, or, where a terminal reads it, with its colours as the only commands."""

    def __init__(self) -> None:
        """Nothing is printed yet."""
        self._stream = behind(sys.stdout)
        self._terminal = self._stream.isatty()
        self._begun = ""
        self._coloured = False

    def print(self, piece: str) -> None:
        """Print the next piece."""
        if self._terminal:
            piece = self._begun + piece
            cut = _BEGUN.search(piece)
            piece, self._begun = (piece[: cut.start()], cut[0]) if cut else (piece, "")
            piece = self._shown(piece)
        self._stream.write(piece)
        self._stream.flush()

    def end(self) -> None:
        """Print what was held back, and end the log's colours."""
        self._stream.write(visible(self._begun) + _RESET * self._coloured)
        self._stream.flush()  # stderr may say more

    def _shown(self, piece: str) -> str:
        piece = piece.replace("\r\n", "\n")
        colours = _COLOUR.findall(piece)
        self._coloured = self._coloured or bool(colours)
        plain = [visible(part) for part in _COLOUR.split(piece)]
        return "".join(word for pair in zip(plain, [*colours, ""], strict=True) for word in pair)
