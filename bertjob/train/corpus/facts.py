"""What a prepared corpus holds, as JSON: ``python -m bertjob.train.corpus.facts FOLDER``.

The entropy of its tokens says what a loss of masked tokens means: a model that knows no more than how often each token
occurs has a loss of so many nats a token.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bertjob.errors import BertjobError
from bertjob.train.corpus.reader import Corpus, open_corpus
from bertjob.train.marks import marks_of
from bertjob.train.ragged import Int64

_BLOCK = 1 << 24
"""Tokens counted at once."""


def facts(folder: Path) -> dict[str, Any]:
    """Sizes of both parts and the vocabulary; of the training part mean lengths, unknown tokens, entropy (nats).

    Raises:
        DataError: there is no complete preparation, or it has no documents for training.
    """
    train, manifest = open_corpus(folder, "train")
    occurrences = counts(train, manifest.vocabulary.size)
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


def counts(corpus: Corpus, vocabulary_size: int) -> Int64:
    """How often each token occurs: int64 ``[V]``."""
    found = np.zeros(vocabulary_size, np.int64)
    for shard in corpus.shards:
        for first in range(0, len(shard.tokens), _BLOCK):
            found += np.bincount(shard.tokens[first : first + _BLOCK], minlength=vocabulary_size)
    return found


def entropy(occurrences: Int64) -> float:
    """Nats a token of a source that draws each token as often as it occurs, by itself (Shannon, 1948)."""
    share = occurrences[occurrences > 0] / occurrences.sum()
    return -math.fsum(share * np.log(share))


def main(folder: str) -> int:
    """Print the facts of `folder`; the exit code."""
    try:
        print(json.dumps(facts(Path(folder).expanduser())))
    except BertjobError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
