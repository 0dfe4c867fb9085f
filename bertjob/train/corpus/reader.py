"""A prepared corpus, open for reading: its shards as one long row of documents."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertjob.errors import DataError
from bertjob.formats.corpus_manifest import SHARDS, Manifest, Part, no_documents, read_manifest, shard_name
from bertjob.train.corpus.shards import Shard, open_shard, train_part, validation_part
from bertjob.train.data.batch import Int64


class Rows(NamedTuple):
    """Rows of a question that fall into one shard."""

    number: int
    shard: Shard
    rows: Int64


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents, whose numbers go on from shard to shard, as those of their sentences do.

    Attributes:
        shards: none is empty.
        sentence_base: int64 ``[shards + 1]``, number of each shard's first sentence, and of all.
        document_base: int64 ``[shards + 1]``, of its first document.
        vocabulary_size: V; no token has a larger id than V - 1.
    """

    shards: tuple[Shard, ...]
    sentence_base: Int64
    document_base: Int64
    vocabulary_size: int

    @classmethod
    def of(cls, shards: Sequence[Shard], vocabulary_size: int = 1 << 32) -> "Corpus":
        """All documents of some shards."""
        full = tuple(shard for shard in shards if shard.size.documents)
        return cls(
            full,
            np.cumsum([0, *(shard.size.sentences for shard in full)]),
            np.cumsum([0, *(shard.size.documents for shard in full)]),
            vocabulary_size,
        )

    @property
    def size(self) -> Part:
        """How much text it holds."""
        return sum((shard.size for shard in self.shards), Part())

    def of_sentences(self, sentences: Int64) -> Iterator[Rows]:
        """For each shard with some of these sentences: which of the rows."""
        return self._grouped(np.searchsorted(self.sentence_base, sentences, side="right") - 1)

    def of_documents(self, documents: Int64) -> Iterator[Rows]:
        """For each shard with some of these documents: which of the rows."""
        return self._grouped(np.searchsorted(self.document_base, documents, side="right") - 1)

    def of_shards(self, numbers: Int64) -> Iterator[Rows]:
        """For each of these shards: which of the rows."""
        return self._grouped(numbers)

    def known(self, tokens: NDArray[np.unsignedinteger], shard: Shard) -> NDArray[np.unsignedinteger]:
        """`tokens` as they are, some of a shard's.

        Raises:
            DataError: one is not of the vocabulary.
        """
        if (largest := tokens.max(initial=0)) >= self.vocabulary_size:
            size = self.vocabulary_size
            raise DataError(f"{shard.name}: damaged: has a token {largest} of a vocabulary of {size}; prepare it again")
        return tokens

    def _grouped(self, numbers: Int64) -> Iterator[Rows]:
        for number in np.unique(numbers).tolist():
            yield Rows(number, self.shards[number], np.flatnonzero(numbers == number))


def open_corpus(folder: Path, part: Literal["train", "validation"]) -> tuple[Corpus, Manifest]:
    """One part of a prepared corpus, mapped into memory, and what the manifest says.

    Raises:
        DataError: there is no complete preparation, a shard is not what the manifest says, or the part is empty.
    """
    manifest = read_manifest(folder)
    shards = []
    for number, record in enumerate(manifest.shards):
        name = shard_name(number)
        try:
            shard = open_shard(folder / SHARDS, name)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder / SHARDS}: shard {name} cannot be read ({error}); prepare it again") from None
        if shard.size != record.train + record.validation:
            raise DataError(f"{folder / SHARDS}: shard {name} is not what the manifest says; prepare it again")
        own = train_part(shard, record.train) if part == "train" else validation_part(shard, record.train)
        if not own.is_sound:
            raise DataError(f"{shard.name}: damaged: its bounds do not ascend to the end of its text; prepare it again")
        shards.append(own)
    corpus = Corpus.of(shards, manifest.vocabulary.size)
    if not corpus.shards:
        raise no_documents(folder, part)
    return corpus, manifest
