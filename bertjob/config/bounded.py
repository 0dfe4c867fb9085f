"""Reads of files that somebody else may have made: no more than what such a file can have."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SMALL = 1 << 20
"""Bytes, of what people write: jobs, sites, scripts."""
CONFIG = 10 << 20
"""Of what describes a model or a training: config.json and the like, which have some kilobytes."""
VOCABULARY = 256 << 20
"""Of a vocabulary: the largest tokenizer.json of models on the hub have some ten megabytes."""

DATA = 4 << 30
"""Of a set of questions, which is read whole: SQuAD's training set has 30 MB."""
_PIECE = 1 << 20


def read_bytes(path: Path, most: int) -> bytes:
    """All of a file.

    Raises:
        OSError: it cannot be read, is a device, or has more than `most` bytes, of which none is kept.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise _too_large(most, str(path))
        return read_stream(file, most, str(path))


def open_file(path: Path) -> IO[bytes]:
    """Open a file or pipe for reading, without waiting for somebody to write into a named pipe: that is empty then.

    Raises:
        OSError: it cannot be read, or is a device, such as /dev/zero, that is no terminal.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(number).st_mode
    if stat.S_ISBLK(mode) or (stat.S_ISCHR(mode) and not os.isatty(number)):
        os.close(number)
        raise OSError(errno.EINVAL, "is a device and not a file", str(path))
    if stat.S_ISDIR(mode):
        os.close(number)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    os.set_blocking(number, True)  # what a process writes into a pipe, as of `<(command)`, comes when it comes
    return os.fdopen(number, "rb")


def read_json(path: Path, most: int) -> Any:
    """The value in a file of JSON.

    Raises:
        OSError: as for `read_bytes`.
        ValueError: it is not JSON, or is nested more deeply than Python reads.
    """
    return parse_json(read_bytes(path, most))


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or is nested more deeply than Python reads.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def read_text(path: Path, most: int) -> str:
    """All of a file in UTF-8.

    Raises:
        OSError: as for `read_bytes`.
        UnicodeDecodeError: it is no UTF-8.
    """
    return read_bytes(path, most).decode()


def read_stream(file: IO[bytes], most: int, name: str) -> bytes:
    """All that comes of an open file or of a network's answer.

    Raises:
        OSError: it cannot be read, or is more than `most` bytes.
    """
    content = b"".join(_pieces(file, most + 1))
    if len(content) > most:
        raise _too_large(most, name)
    return content


def _too_large(most: int, name: str) -> OSError:
    return OSError(errno.EFBIG, f"has more than {most >> 20} MB: no file of its kind has", name)


def _pieces(file: IO[bytes], most: int) -> Iterator[bytes]:
    """What comes, up to `most` bytes: Python sets aside at once what a single read asks for."""
    while most > 0 and (piece := file.read(min(most, _PIECE))):
        most -= len(piece)
        yield piece
