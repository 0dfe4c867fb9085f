"""Reads of files that somebody else may have made: no more than what such a file can have."""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import IO

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
        OSError: it cannot be read, or has more than `most` bytes, of which none is kept.
    """
    with path.open("rb") as file:
        return read_stream(file, most, str(path))


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
        raise OSError(errno.EFBIG, f"has more than {most >> 20} MB: no file of its kind has", name)
    return content


def _pieces(file: IO[bytes], most: int) -> Iterator[bytes]:
    """What comes, up to `most` bytes: Python sets aside at once what a single read asks for."""
    while most > 0 and (piece := file.read(min(most, _PIECE))):
        most -= len(piece)
        yield piece
