"""Corpora, prepared and described by an interpreter of the training: this side has no numpy and no tokenizers."""

from collections.abc import Callable
from typing import Any

import msgspec

from bertjob.cluster.training_side import lines


class Request(msgspec.Struct, frozen=True):
    """What is to be prepared; see bertjob.train.corpus.prepare.Preparation."""

    corpora: tuple[str, ...]
    out: str
    vocab: str | None
    train_vocab: int | None
    split_sentences: bool
    validation: float
    workers: int


class Progress(msgspec.Struct, frozen=True):
    """How far it is: bytes of files that are done, of all; shards so far, and how many of them were there before."""

    phase: str
    done: int
    total: int
    shards: int
    kept: int


def prepare(request: Request, show: Callable[[Progress], None]) -> dict[str, Any]:
    """Prepare a corpus; what was made, in numbers.

    Args:
        request: what.
        show: is called with each step forward.

    Raises:
        DataError: the training's packages are not installed here, or the corpus, the vocabulary or the folder is no
            good; in one line.
    """
    summary: dict[str, Any] = {}
    for line in lines("bertjob.train.corpus", msgspec.json.encode(request).decode()):
        said = msgspec.json.decode(line)
        if "phase" in said:
            show(msgspec.convert(said, Progress))
        else:
            summary = said
    return summary


def describe(folder: str, *, check: bool = False) -> dict[str, Any]:
    """What a prepared corpus holds; see bertjob.train.corpus.statistics.

    Args:
        folder: where it is.
        check: compare its shards with their checksums before.

    Raises:
        DataError: the training's packages are not installed here, or there is no complete preparation, or a shard is
            damaged; in one line.
    """
    (facts,) = lines("bertjob.train.corpus.statistics", folder, *(("--check",) if check else ()))
    return dict(msgspec.json.decode(facts))
