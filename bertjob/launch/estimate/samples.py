"""What a job trains on, guessed from the characters of its questions and contexts, without a tokenizer."""

import math
from collections.abc import Iterable, Iterator

import msgspec

from bertjob.spec.job import Job, Train
from bertjob.spec.lengths import MARKS

CHARACTERS_A_TOKEN = 4.8
"""Of English text in BERT's uncased vocabulary; with it the lengths of SQuAD's samples come out within 1 %."""


class Samples(msgspec.Struct, frozen=True):
    """What a job trains on.

    Attributes:
        count: samples of an epoch; None where it is not known.
        tokens: mean tokens of a sample, padding included where the job's batching pads.
        squares: mean of their squares.
        masked: mean tokens of a sample that pre-training asks about.
    """

    count: int | None
    tokens: float
    squares: float
    masked: float = 0.0


SQUAD = Samples(88700, 165.0, 32500.0)
"""SQuAD v1.1's training set, where the file is not at hand: its 87,599 questions, with as many samples a question,
and of such lengths, as 384 tokens and a stride of 128 make of a seventh of them."""


def pretraining_samples(job: Job) -> Samples:
    """Of pre-training, whose samples are as long as they may be but for one pair in ten."""
    tokens = float(job.train.max_seq_length)
    masked = job.pretraining.masked * (tokens - MARKS)
    return Samples(None, tokens, tokens**2, min(masked, float(job.pretraining.max_predictions_per_seq or masked)))


def squad_samples(texts: Iterable[tuple[int, int]], train: Train) -> Samples:
    """Of a SQuAD file.

    Args:
        texts: characters of each question and of its context.
        train: lengths and batching.
    """
    lengths = [length for question, context in texts for length in _windows(question, context, train)]
    if train.batching == "padded" or not lengths:
        return Samples(len(lengths), train.max_seq_length, train.max_seq_length**2)
    return Samples(len(lengths), math.fsum(lengths) / len(lengths), math.fsum(n * n for n in lengths) / len(lengths))


def _windows(question: int, context: int, train: Train) -> Iterator[float]:
    """Tokens of the samples that one question becomes."""
    asked = min(question / CHARACTERS_A_TOKEN, train.max_query_length)
    left = context / CHARACTERS_A_TOKEN
    room = train.max_seq_length - MARKS - asked
    while left > room:
        yield float(train.max_seq_length)
        left -= train.doc_stride
    yield left + asked + MARKS
