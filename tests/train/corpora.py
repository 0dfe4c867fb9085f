"""Small corpora: random text in files, and tokens that say where they stand."""

from pathlib import Path

import numpy as np

from bertjob.rundir.messages import PreparationProgress
from bertjob.train.corpus.reader import Corpus, open_corpus
from bertjob.train.corpus.shards import Shard
from bertjob.train.tasks.pretraining.samples import Marks

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog,",
    "née",
    "Übermut;",
    "don't",
    "stop",
    "3.14",
    "unbelievable",
    "antidisestablishment",
]
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


def write_documents(path: Path, documents: int, seed: int) -> list[list[str]]:
    """A file of random documents; the documents."""
    rng = np.random.default_rng(seed)
    made = [
        [" ".join(rng.choice(WORDS, rng.integers(1, 30))) for _ in range(rng.integers(1, 12))] for _ in range(documents)
    ]
    path.write_text("\n\n".join("\n".join(document) for document in made) + "\n")
    return made


def silent(_: PreparationProgress) -> None:
    """Tell nobody."""


def read_back(folder: Path, part: str) -> list[list[list[int]]]:
    """The documents of a part: ids of each sentence."""
    assert part in ("train", "validation")
    corpus, _ = open_corpus(folder, part)
    return [
        [
            shard.tokens[shard.sentences[number] : shard.sentences[number + 1]].tolist()
            for number in range(shard.documents[document], shard.documents[document + 1])
        ]
        for shard in corpus.shards
        for document in range(shard.size.documents)
    ]
