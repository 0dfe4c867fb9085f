"""The files of a corpus: found, opened whatever they are packed in, and read as spans of whole documents."""

import contextlib
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast

import msgspec

from bertjob.config.home import expand
from bertjob.errors import DataError
from bertjob.text import reason
from bertjob.train.data.arrow import STATE, dataset_files, open_arrow

Form = Literal["sentences", "prose", "jsonl"]
"""One sentence a line and an empty line between documents; running text with two; one JSON object a document."""

BLOCK: Final = 1 << 20
"""Bytes read at once."""
_PACKED_BLOCK: Final = 1 << 12
"""Bytes unpacked at once: zstandard makes up to 128 KiB of 4."""
LONGEST_DOCUMENT: Final = 8 << 20
"""Bytes of text: a longer document becomes several, cut at ends of lines; no line may be longer."""
_PACKED: Final = {".gz", ".xz", ".zst"}
_NO_TEXT: Final = {"dataset_dict.json", "dataset_info.json", STATE}
"""What `datasets` saves beside its Arrow files."""
_BOUNDARY: Final[dict[Form, tuple[bytes, re.Pattern[bytes]]]] = {
    "sentences": (b"\n\n", re.compile(rb"\n(?:[ \t\r\f\v]*\n)+")),
    "prose": (b"\n\n\n", re.compile(rb"\n(?:[ \t\r\f\v]*\n){2,}")),
    "jsonl": (b"\n", re.compile(rb"\n")),
}
"""What ends a document: its plainest form, which is found quickly, and all forms."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a corpus.

    Attributes:
        path: where it is.
        name: what the manifest calls it: its path below the folder that was given.
        form: how it holds documents.
        bytes: its size as it lies on the disk.
    """

    path: Path
    name: str
    form: Form
    bytes: int


@dataclass(frozen=True, slots=True)
class Span:
    """Whole documents of one file, as bytes.

    Attributes:
        path: the file, for messages.
        form: how it holds documents.
        offset: where in its (unpacked) text the span begins.
        text: the bytes.
        read: bytes of the file as it lies on the disk that are read by now, for progress.
    """

    path: str
    form: Form
    offset: int
    text: bytes
    read: int


def find_sources(corpora: Sequence[str], *, prose: bool) -> tuple[Source, ...]:
    """The files that `corpora` (files and folders) name; folders are walked by name, without hidden files.

    Args:
        corpora: what the user gave.
        prose: text files hold running text, not a sentence a line.

    Raises:
        DataError: one is not there.
    """
    return tuple(
        Source(path, name, _form(path, prose), path.stat().st_size)
        for corpus in corpora
        for path, name in _files(expand(corpus))
    )


def spans(source: Source) -> Iterator[Span]:
    """The text of a file in spans of about BLOCK bytes. Holds LONGEST_DOCUMENT and a BLOCK at most.

    Raises:
        DataError: the file cannot be read or unpacked, or is no text.
    """
    path, (plain, every) = str(source.path), _BOUNDARY[source.form]
    held, offset = b"", 0
    try:
        with source.path.open("rb") as raw, _unpacked(source.path, raw) as stream:
            while block := _read_full(stream):
                held += block
                cut = _last_end(held, plain, every)
                if not cut and len(held) >= LONGEST_DOCUMENT:
                    cut = held.rfind(b"\n") + 1
                    if not cut or source.form == "jsonl":
                        raise DataError(f"{path}: the line at byte {offset} is longer than 8 MiB: is this text?")
                if cut:
                    yield Span(path, source.form, offset, held[:cut], raw.tell())
                    held, offset = held[cut:], offset + cut
            if held:
                yield Span(path, source.form, offset, held, raw.tell())
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: cannot be unpacked ({str(error) or 'it ends too early'})") from None
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def _files(corpus: Path) -> Iterator[tuple[Path, str]]:
    if corpus.is_file():
        yield corpus, corpus.name
        return
    if not corpus.is_dir():
        raise DataError(f"{corpus}: no such file or folder")
    for folder, folders, names in os.walk(corpus):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        saved = STATE in names and any(name.endswith(".arrow") for name in names)
        for name in sorted(file.name for file in dataset_files(Path(folder))) if saved else sorted(names):
            path = Path(folder, name)
            if saved and not path.exists():
                raise DataError(f"{path}: is not there, and {STATE} names it")
            if not name.startswith(".") and name not in _NO_TEXT and path.is_file():
                yield path, (corpus.absolute().name / path.relative_to(corpus)).as_posix()


def _form(path: Path, prose: bool) -> Form:
    inner = path.with_suffix("") if path.suffix in _PACKED else path
    if inner.suffix in (".jsonl", ".arrow"):
        return "jsonl"
    return "prose" if prose else "sentences"


def _unpacked(path: Path, raw: BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.GzipFile(fileobj=raw))
    if path.suffix == ".xz":
        return cast("BinaryIO", lzma.LZMAFile(raw))
    if path.suffix == ".zst":
        return _zstandard(path, raw)
    if path.suffix == ".arrow":
        return _ArrowLines(path, raw)
    return contextlib.nullcontext(raw)


def _zstandard(path: Path, raw: BinaryIO) -> contextlib.AbstractContextManager[BinaryIO]:
    try:
        import zstandard
    except ModuleNotFoundError:
        raise DataError(f"{path}: .zst needs zstandard here: pip install 'bertjob[train]'") from None
    return _Zstandard(path, raw, zstandard)


class _ArrowLines(io.RawIOBase, BinaryIO):
    """The column `text` of an Arrow file as JSON lines; `raw` is moved on with it, for progress."""

    def __init__(self, path: Path, raw: BinaryIO) -> None:
        self._path = path
        self._batches = open_arrow(path)
        self._raw = raw
        self._lines = self._made()
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, none at the end; for -1 all."""
        if size < 0:
            return self.readall()
        while len(self._left) < size and (line := next(self._lines, b"")):
            self._left += line
        given, self._left = self._left[:size], self._left[size:]
        return given

    def _made(self) -> Iterator[bytes]:
        end = self._raw.seek(0, io.SEEK_END)
        for number, batch in enumerate(self._batches):
            self._raw.seek(end * number // len(self._batches))
            if not batch.num_rows:  # what is read as nothing is the end
                continue
            if "text" not in batch.schema.names:
                raise DataError(f"{self._path}: has no column text but {', '.join(batch.schema.names)}")
            rows = batch.column("text").to_pylist()
            yield b"".join(msgspec.json.encode({"text": text or ""}) + b"\n" for text in rows)
        self._raw.seek(end)


class _Zstandard(io.RawIOBase, BinaryIO):
    """The frames of a file, one after another. zstandard's own reader says nothing of one that is cut off."""

    def __init__(self, path: Path, raw: BinaryIO, zstandard: Any) -> None:
        self._path, self._raw = path, raw
        self._fault, self._unpacker = zstandard.ZstdError, zstandard.ZstdDecompressor()
        self._frame: Any = None
        self._left = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, none at the end; for -1 all.

        Raises:
            EOFError: the file ends within a frame.
            DataError: it is no such file.
        """
        if size < 0:
            return self.readall()
        while not self._left and (packed := self._raw.read(_PACKED_BLOCK)):
            self._left = memoryview(b"".join(self._unpacked(packed)))
        if not self._left and self._frame is not None:
            raise EOFError
        given, self._left = bytes(self._left[:size]), self._left[size:]
        return given

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        while packed:
            self._frame = self._frame or self._unpacker.decompressobj()
            try:
                yield self._frame.decompress(packed)
            except self._fault as error:
                raise DataError(f"{self._path}: cannot be unpacked ({error})") from None
            if not self._frame.eof:
                return
            packed, self._frame = self._frame.unused_data, None


def _read_full(stream: BinaryIO) -> bytes:
    """BLOCK bytes, or what is left: where spans end must not depend on how much a stream gives at once."""
    parts, missing = [], BLOCK
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _last_end(text: bytes, plain: bytes, every: re.Pattern[bytes]) -> int:
    """Where the last boundary of `text` ends; 0 where there is none."""
    found = text.rfind(plain)
    if found >= 0:
        return found + len(plain)
    return max((match.end() for match in every.finditer(text)), default=0)
