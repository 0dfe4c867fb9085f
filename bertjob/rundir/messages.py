"""What the login side and the training's own interpreter send each other: JSON, one object a line.

The login side has no torch, so it starts modules of the training in a process of their own. A request is an argument;
answers are the lines of the standard output.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

_Step = TypeVar("_Step", bound=msgspec.Struct)
_Result = TypeVar("_Result", bound=msgspec.Struct)


class Preparation(msgspec.Struct, frozen=True):
    """A corpus to prepare: the argument of ``python -m bertjob.train.corpus``.

    Attributes:
        corpora: files and folders.
        out: the folder of the shards.
        vocab: a vocab.txt, a tokenizer.json or a folder with one; None where one is trained.
        train_vocab: tokens of the vocabulary to train; None where one is given.
        split_sentences: the text is running prose.
        validation: share of the documents for validation, 0 to 1.
        workers: processes that make shards.
        shard_bytes: text after which a shard is closed; None: by the size of the corpus.
    """

    corpora: tuple[str, ...]
    out: str
    vocab: str | None = None
    train_vocab: int | None = None
    split_sentences: bool = False
    validation: float = 0.005
    workers: int = 1
    shard_bytes: int | None = None


class PreparationProgress(msgspec.Struct, frozen=True):
    """How far a preparation is.

    Attributes:
        phase: what it is doing.
        done: bytes of the files that are done.
        total: bytes of all files.
        shards: shards so far.
        kept: how many of them an earlier preparation had made.
    """

    phase: str
    done: int
    total: int
    shards: int = 0
    kept: int = 0


class Prepared(msgspec.Struct, frozen=True):
    """What a preparation has made.

    Attributes:
        shards: their number.
        text_bytes: size of the corpus, unpacked.
        vocabulary_size: tokens of the vocabulary.
        vocabulary_sha256: of the tokenizer.
        train: documents, sentences and tokens to train on.
        validation: the same of the part that is held back.
    """

    shards: int
    text_bytes: int
    vocabulary_size: int
    vocabulary_sha256: str
    train: dict[str, int]
    validation: dict[str, int]


class AnsweringProgress(msgspec.Struct, frozen=True):
    """How many pieces of the contexts have been read, of all: a long context is many."""

    read: int
    pieces: int


class Answer(msgspec.Struct, frozen=True):
    """An answered question.

    Attributes:
        question: its text.
        context: the paragraph.
        answer: the best answer.
        start: index of its first character in the context.
        end: index behind its last character.
        probability: of this answer among the n best.
        id: of the question; empty for one of the user's own.
        gold: the answers that the data set gives; empty for a question of the user's own.
    """

    question: str
    context: str
    answer: str
    start: int
    end: int
    probability: float
    id: str = ""
    gold: tuple[str, ...] = ()


def line(message: msgspec.Struct) -> str:
    """A message as one line, without its end."""
    return msgspec.json.encode(message).decode()


def received(lines: Iterable[str], step: type[_Step], result: type[_Result]) -> Iterator[_Step | _Result]:
    """The messages among the lines that a program prints; what libraries print beside them is passed over.

    Args:
        lines: as they come.
        step: a message with this one's fields is one.
        result: any other message.
    """
    for said in lines:
        if said.startswith("{"):
            try:
                yield msgspec.json.decode(said, type=step)
            except msgspec.ValidationError:
                yield msgspec.json.decode(said, type=result)
