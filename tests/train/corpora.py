"""Small corpora whose tokens say where they stand."""

import numpy as np

from bertjob.train.corpus.reader import Corpus
from bertjob.train.corpus.shards import Shard
from bertjob.train.pretrain.assemble import Marks

FIRST = 1000
"""The first token of a numbered corpus; smaller ids are free for marks."""
MARKS = Marks(101, 102)


def numbered_corpus(documents: list[list[list[int]]]) -> Corpus:
    """A corpus of shards of documents of sentence lengths; token t of all has the id FIRST + t."""
    shards, token = [], FIRST
    for shard in documents:
        lengths = [length for document in shard for length in document]
        total = sum(lengths)
        shards.append(
            Shard(
                np.arange(token, token + total, dtype=np.uint32),
                np.cumsum([0, *lengths]).astype(np.uint32),
                np.cumsum([0, *map(len, shard)]).astype(np.uint32),
            )
        )
        token += total
    return Corpus.of(shards)


def random_corpus(seed: int = 0, shards: int = 3, documents: int = 40, longest: int = 40) -> Corpus:
    """Documents of 1 to 60 sentences of up to `longest` tokens."""
    rng = np.random.default_rng(seed)
    return numbered_corpus(
        [[rng.integers(1, longest + 1, rng.integers(1, 61)).tolist() for _ in range(documents)] for _ in range(shards)]
    )
