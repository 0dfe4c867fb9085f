"""A corpus cut into the texts of its shards, by the text alone."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bertjob.train.corpus.manifest import SourceRecord, shard_name
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
