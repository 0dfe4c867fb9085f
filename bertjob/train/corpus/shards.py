"""The format of a shard: three .npy files that are mapped into memory, of which no reader needs to know more.

    NAME.tokens.npy      token ids of all sentences, one after another; uint16 where the vocabulary fits, else uint32
    NAME.sentences.npy   uint32 [S + 1], where each sentence begins in the tokens, and their number
    NAME.documents.npy   uint32 [D + 1], where each document begins in the sentences, and their number

The documents for training come first, then those for validation; the manifest says how many are which.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from bertjob.formats.checksums import Checksum, checksum, checksum_of
from bertjob.formats.corpus_manifest import Part, ShardRecord
from bertjob.rundir import atomic
from bertjob.train.corpus.encode import Encoded
from bertjob.train.data.batch import Int32, Int64
from bertjob.train.data.mapped import map_array

ARRAYS: Final = ("tokens", "sentences", "documents")


class Shard(NamedTuple):
    """Documents as arrays, mapped into memory where they come from files.

    Attributes:
        tokens: uint16 or uint32 ``[T]``.
        sentences: uint32 ``[S + 1]``, bounds of sentences in `tokens`.
        documents: uint32 ``[D + 1]``, bounds of documents in `sentences`.
        name: where its files lie, for messages.
    """

    tokens: NDArray[np.unsignedinteger]
    sentences: NDArray[np.uint32]
    documents: NDArray[np.uint32]
    name: str = ""

    @property
    def size(self) -> Part:
        """How much text it holds."""
        return Part(len(self.documents) - 1, len(self.sentences) - 1, len(self.tokens))

    @property
    def is_sound(self) -> bool:
        """Whether its bounds begin at 0, ascend and end where the text does; 1 ns a sentence, no token is read."""
        return all(
            len(bounds) and bounds[0] == 0 and bounds[-1] == end and bool((bounds[1:] > bounds[:-1]).all())
            for bounds, end in ((self.sentences, len(self.tokens)), (self.documents, len(self.sentences) - 1))
        )

    def documents_of(self, sentences: Int64) -> Int64:
        """The documents that these sentences are of."""
        return np.searchsorted(self.documents, sentences.astype(np.uint32), side="right") - 1


@dataclass(frozen=True, slots=True)
class Texts:
    """Encoded blocks of the two parts of a shard, in the order of the corpus."""

    train: Sequence[Encoded]
    validation: Sequence[Encoded]


def write_shard(folder: Path, name: str, texts: Texts, vocabulary_size: int, text_sha256: str) -> ShardRecord:
    """Write the three files of a shard, and its record last: without it there is no shard.

    Raises:
        OSError: they cannot be written.
    """
    blocks = [*texts.train, *texts.validation]
    arrays = {
        "tokens": _joined([block.tokens for block in blocks], np.uint16 if vocabulary_size <= 1 << 16 else np.uint32),
        "sentences": _bounds([block.sentences for block in blocks]),
        "documents": _bounds([block.documents for block in blocks]),
    }
    files = {array: _write_array(_file(folder, name, array), arrays[array]) for array in ARRAYS}
    record = ShardRecord(text_sha256, _size(texts.train), _size(texts.validation), files)
    atomic.write_bytes(record_file(folder, name), msgspec.json.encode(record), durable=True)
    return record


def is_whole(folder: Path, name: str, record: ShardRecord) -> bool:
    """Whether the files of a shard are what was written.

    Raises:
        OSError: one is there and cannot be read.
    """
    try:
        return all(checksum(_file(folder, name, array)) == record.files.get(array) for array in ARRAYS)
    except FileNotFoundError:
        return False


def open_shard(folder: Path, name: str) -> Shard:
    """Map all documents of a shard into memory.

    Raises:
        OSError, ValueError: a file is not there, or no array.
    """
    tokens, sentences, documents = (np.asarray(map_array(_file(folder, name, array))) for array in ARRAYS)
    return Shard(tokens, sentences, documents, str(folder / name))


def train_part(shard: Shard, size: Part) -> Shard:
    """The first documents of a shard, `size` of them."""
    return shard._replace(
        tokens=shard.tokens[: size.tokens],
        sentences=shard.sentences[: size.sentences + 1],
        documents=shard.documents[: size.documents + 1],
    )


def validation_part(shard: Shard, train: Part) -> Shard:
    """The documents behind the first ones, which have the size `train`."""
    return shard._replace(
        tokens=shard.tokens[train.tokens :],
        sentences=shard.sentences[train.sentences :] - np.uint32(train.tokens),
        documents=shard.documents[train.documents :] - np.uint32(train.sentences),
    )


def record_file(folder: Path, name: str) -> Path:
    """Where a shard's record lies until the manifest takes it up."""
    return folder / f"{name}.json"


def _write_array(path: Path, array: NDArray[np.unsignedinteger]) -> Checksum:
    content = io.BytesIO()
    np.save(content, array)
    atomic.write_bytes(path, content.getbuffer(), durable=True)  # numpy itself does not say why it could not write
    return checksum_of(content.getbuffer())


def _file(folder: Path, name: str, array: str) -> Path:
    return folder / f"{name}.{array}.npy"


def _size(blocks: Sequence[Encoded]) -> Part:
    return Part(
        sum(len(block.documents) for block in blocks),
        sum(len(block.sentences) for block in blocks),
        sum(len(block.tokens) for block in blocks),
    )


def _joined(parts: Sequence[Int32], kind: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    joined: NDArray[np.unsignedinteger] = np.concatenate([np.zeros(0, kind), *(part.astype(kind) for part in parts)])
    return joined


def _bounds(lengths: Sequence[Int64]) -> NDArray[np.unsignedinteger]:
    """From lengths to bounds, of which the first is 0."""
    every = np.concatenate([np.zeros(1, np.int64), *lengths])
    bounds = np.cumsum(every)
    assert bounds[-1] < 1 << 32, "a shard holds 40 MiB of text at most"
    return bounds.astype(np.uint32)
