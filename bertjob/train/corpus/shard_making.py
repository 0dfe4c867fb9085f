"""From a piece of a corpus to a shard: the work of one process."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bertjob.train.corpus.documents import documents
from bertjob.train.corpus.encode import Encoded, Encoder
from bertjob.train.corpus.pieces import Piece
from bertjob.train.corpus.shards import ShardRecord, Texts, write_shard
from bertjob.train.corpus.sources import Span

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
