"""What a prepared corpus holds, as JSON: ``python -m bertjob.train.corpus.statistics FOLDER [--check]``.

The entropy of its tokens says what a loss of masked tokens means: a model that knows no more than how often each token
occurs has a loss of so many nats a token.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bertjob.config.home import expand
from bertjob.errors import BertjobError, DataError
from bertjob.formats.corpus_manifest import SHARDS, read_manifest, shard_name
from bertjob.text import reason
from bertjob.train.corpus.reader import Corpus, open_corpus
from bertjob.train.corpus.shards import is_whole
from bertjob.train.data.batch import Int64
from bertjob.train.data.special_tokens import marks_of

_BLOCK = 1 << 24
"""Tokens counted at once."""


def facts(folder: Path) -> dict[str, Any]:
    """Sizes of both parts and the vocabulary; of the training part mean lengths, unknown tokens, entropy (nats).

    Raises:
        DataError: there is no complete preparation, or it has no documents for training, or a shard is damaged.
    """
    train, manifest = open_corpus(folder, "train")
    occurrences = counts(train)
    marks = manifest.vocabulary.marks
    return {
        "shards": len(manifest.shards),
        "text_bytes": sum(source.bytes for source in manifest.sources),
        "vocabulary_size": manifest.vocabulary.size,
        **{
            f"{part}_{what}": getattr(getattr(manifest, part), what)
            for part in ("train", "validation")
            for what in ("documents", "sentences", "tokens")
        },
        "tokens_a_sentence": round(manifest.train.tokens / manifest.train.sentences, 1),
        "unknown_tokens": int(occurrences[marks[marks_of(marks).unknown]]),
        "unigram_entropy": round(entropy(occurrences), 4),
    }


def check(folder: Path) -> None:
    """Read all files of all shards and compare them with the checksums of the manifest.

    Raises:
        DataError: there is no complete preparation, or a shard is not what was written.
    """
    for number, record in enumerate(read_manifest(folder).shards):
        shard = folder / SHARDS / shard_name(number)
        try:
            whole = is_whole(shard.parent, shard.name, record)
        except OSError as error:
            raise DataError(f"{error.filename or shard}: cannot be read: {reason(error)}") from None
        if not whole:
            raise DataError(f"{shard}: is not what was written (SHA-256 differs); prepare it again")


def counts(corpus: Corpus) -> Int64:
    """How often each token occurs: int64 ``[V]``.

    Raises:
        DataError: a token is not of the vocabulary.
    """
    size = corpus.vocabulary_size
    found = np.zeros(size, np.int64)
    for shard in corpus.shards:
        for first in range(0, len(shard.tokens), _BLOCK):
            found += np.bincount(corpus.known(shard.tokens[first : first + _BLOCK], shard), minlength=size)
    return found


def entropy(occurrences: Int64) -> float:
    """Nats a token of a source that draws each token as often as it occurs, by itself (Shannon, 1948)."""
    share = occurrences[occurrences > 0] / occurrences.sum()
    return -math.fsum(share * np.log(share))


def main(folder: str, *options: str) -> int:
    """Print the facts of `folder`, with ``--check`` if its shards are what was written; the exit code."""
    place = expand(folder)
    try:
        if "--check" in options:
            check(place)
        print(json.dumps(facts(place)))
    except BertjobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
