"""Processes that make shards: a corpus cut into pieces, one shard per piece; each ends when its parent does."""

import hashlib
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, NamedTuple

from bertjob.errors import DataError
from bertjob.formats.corpus_manifest import ShardRecord, SourceRecord, shard_name
from bertjob.text import reason
from bertjob.train.corpus.encode import Encoded, Encoder
from bertjob.train.corpus.sentences import documents
from bertjob.train.corpus.shards import Texts, write_shard
from bertjob.train.corpus.sources import Source, Span, spans


class Piece(NamedTuple):
    """The text of one shard.

    Attributes:
        name: of the shard.
        spans: whole documents, in the order of the corpus.
        sha256: of all that the shard is made of.
    """

    name: str
    spans: tuple[Span, ...]
    sha256: str


class Reading:
    """Reads a corpus once, from its beginning to its end, piece by piece."""

    def __init__(self, sources: Sequence[Source], shard_bytes: int) -> None:
        """Of all `sources`, in pieces of about `shard_bytes`."""
        self.sources = sources
        self._shard_bytes = shard_bytes
        self.total = sum(source.bytes for source in sources)
        self.done: dict[str, int] = {}
        """Bytes of the files that are read by the end of each piece, by its name."""
        self._digests = [hashlib.sha256() for _ in sources]
        self._bytes = [0 for _ in sources]

    def pieces(self) -> Iterator[Piece]:
        """The text of one shard after another."""
        held: list[Span] = []
        size = before = done = 0
        for number, source in enumerate(self.sources):
            for span in spans(source):
                self._digests[number].update(span.text)
                self._bytes[number] += len(span.text)
                held.append(span)
                size += len(span.text)
                done = before + span.read
                if size >= self._shard_bytes:
                    yield self._piece(held, done)
                    held, size = [], 0
            before += source.bytes
        if held:
            yield self._piece(held, done)

    def records(self) -> tuple[SourceRecord, ...]:
        """The sources, when all are read."""
        return tuple(
            SourceRecord(source.name, size, digest.hexdigest())
            for source, size, digest in zip(self.sources, self._bytes, self._digests, strict=True)
        )

    def _piece(self, held: Sequence[Span], done: int) -> Piece:
        digest = hashlib.sha256()
        for span in held:
            digest.update(f"{span.form} {span.offset} {len(span.text)}\n".encode())
            digest.update(span.text)
        name = shard_name(len(self.done))
        self.done[name] = done
        return Piece(name, tuple(held), digest.hexdigest())


_BATCH_CHARACTERS: Final = 1 << 20
"""Text that is tokenised at once."""


class Making(NamedTuple):
    """How shards are made.

    Attributes:
        folder: where they go.
        prose: sentences are to be found.
        validation: share of the documents for validation.
        vocabulary_size: number of token ids.
    """

    folder: Path
    prose: bool
    validation: float
    vocabulary_size: int


def make_shard(piece: Piece, making: Making, encoder: Encoder) -> ShardRecord:
    """Tokenise a piece and write its shard; the same bytes whoever does it, and when.

    Raises:
        DataError: the text is not what it should be.
        OSError: the shard cannot be written.
    """
    train: list[Encoded] = []
    validation: list[Encoded] = []
    for batch in _batches(piece.spans, making.prose):
        dealt = [for_validation(document, making.validation) for document in batch]
        train.append(encoder.encode([document for document, held in zip(batch, dealt, strict=True) if not held]))
        validation.append(encoder.encode([document for document, held in zip(batch, dealt, strict=True) if held]))
    return write_shard(making.folder, piece.name, Texts(train, validation), making.vocabulary_size, piece.sha256)


def for_validation(document: Sequence[str], share: float) -> bool:
    """Whether a document is for validation: by its text alone, so that copies are never on both sides."""
    return _drawn(document, share, b"")


def for_vocabulary(document: Sequence[str], share: float) -> bool:
    """Whether a document is of the sample that a vocabulary is trained on; drawn apart from those for validation."""
    return _drawn(document, share, b"vocabulary")


def _drawn(document: Sequence[str], share: float, purpose: bytes) -> bool:
    digest = hashlib.blake2b("\n".join(document).encode(), digest_size=8, person=purpose).digest()
    return int.from_bytes(digest, "big") < share * 2.0**64


def _batches(spans: Sequence[Span], prose: bool) -> Iterator[list[list[str]]]:
    batch: list[list[str]] = []
    characters = 0
    for span in spans:
        for document in documents(span, prose=prose):
            batch.append(document)
            characters += sum(map(len, document))
            if characters >= _BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
    yield batch


Made = tuple[Piece, ShardRecord]


def make_shards(pieces: Iterable[Piece], workers: int, making: Making, vocabulary: Path) -> Iterator[Made]:
    """Make the shards of `pieces` in `workers` processes; each is yielded, without its text, when it is written.

    A piece is taken from `pieces` when a process has none, so that besides theirs only one is in memory.

    Args:
        pieces: in any number.
        workers: processes at most; the first ones start with the first pieces.
        making: how.
        vocabulary: the tokenizer's file.

    Raises:
        DataError: a text is not what it should be, a shard cannot be written, or a process was killed.
    """
    crew: dict[Connection, BaseProcess] = {}
    at_work: dict[Connection, Piece] = {}
    try:
        for piece in pieces:
            if len(at_work) == workers:
                yield from _answers(crew, at_work)
            idle = next((way for way in crew if way not in at_work), None) or _hire(crew, making, vocabulary)
            at_work[idle] = piece._replace(spans=())
            _send(crew[idle], idle, piece)
            del piece  # its text is another process' now
        while at_work:
            yield from _answers(crew, at_work)
    finally:
        for way, process in crew.items():
            way.close()
            if at_work:  # something is wrong, or nobody waits for the rest
                process.terminate()
        for process in crew.values():
            process.join()


def _answers(crew: dict[Connection, BaseProcess], at_work: dict[Connection, Piece]) -> Iterator[Made]:
    """What is done by now, at least one."""
    for way in wait(list(at_work)):
        assert isinstance(way, Connection)
        try:
            answer = way.recv()
        except (EOFError, OSError):
            raise _killed(crew[way]) from None
        if not isinstance(answer, ShardRecord):
            raise DataError(answer)
        yield at_work.pop(way), answer


def _send(process: BaseProcess, way: Connection, piece: Piece) -> None:
    try:
        way.send(piece)
    except OSError:
        raise _killed(process) from None


def _killed(process: BaseProcess) -> DataError:
    process.join(5)
    code = process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return DataError(f"a process that makes shards has died ({how}): out of memory? --workers N takes fewer of them")


def _hire(crew: dict[Connection, BaseProcess], making: Making, vocabulary: Path) -> Connection:
    context = get_context("spawn")  # a fork would copy the library's threads half
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, making, vocabulary), daemon=True)
    process.start()
    there.close()  # else no end of this process would be seen there
    crew[here] = process
    return here


def _work(way: Connection, making: Making, vocabulary: Path) -> None:
    """The life of a process: a piece in, a record or what is wrong out, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end gets it too, and closes
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process a core already
    from bertjob.train.corpus.encode import Encoder
    from bertjob.train.data.tokenizer import load_tokenizer

    encoder = Encoder(load_tokenizer(vocabulary))
    while True:
        try:
            piece = way.recv()
        except EOFError:
            return
        answer: ShardRecord | str
        try:
            answer = make_shard(piece, making, encoder)
        except DataError as error:
            answer = str(error)
        except OSError as error:
            answer = f"{making.folder}: {reason(error)}"
        del piece
        try:
            way.send(answer)
        except OSError:
            return
