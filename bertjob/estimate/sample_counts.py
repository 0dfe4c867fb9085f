"""What a job trains on: lengths of samples, guessed from characters or from documents, without reading tokens."""

import math
import random
from collections.abc import Iterable, Iterator

import msgspec

from bertjob.config.checks.tasks import MARKS
from bertjob.config.job import Job, Train

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


WIKIPEDIA = 390.0
"""Tokens of a document where no corpus is at hand: their pairs are as Wikipedia's, 254 tokens of 512 in the mean."""
_SENTENCE = 20.0
"""Tokens of a sentence: no segment is shorter."""
_DRAWS = 4000
"""Pairs that are tried out: means within 1 %."""


def full_sentence_samples(job: Job) -> Samples:
    """Of full sentences, which go on over the ends of documents and fill every sample."""
    tokens = float(job.train.max_seq_length)
    return Samples(None, tokens, tokens**2, _masked(job, tokens))


def pair_samples(job: Job, document: float) -> Samples:
    """Of pairs for the next sentence, which end with their documents.

    Args:
        job: the job.
        document: mean tokens of a document.
    """
    tokens, squares = _pairs(job, document)
    masked = _masked(job, tokens)
    if job.train.batching == "padded":
        tokens = float(job.train.max_seq_length)
        squares = tokens**2
    return Samples(None, tokens, squares, masked)


def _masked(job: Job, tokens: float) -> float:
    """Masked tokens of a sample."""
    masked = job.pretraining.masked * (tokens - MARKS)
    return min(masked, float(job.pretraining.max_predictions_per_seq or masked))


def _pairs(job: Job, document: float) -> tuple[float, float]:
    """Mean tokens of pairs, and the mean of their squares, by trying them out.

    Documents of exponentially distributed lengths are cut to pairs one after another, as training does; the second
    segment of a random pair is from any place of another document, and what it stands for begins the next pair.
    """
    draw, most, said = random.Random(0), job.train.max_seq_length - MARKS, job.pretraining
    lengths: list[float] = []
    left = 0.0
    while len(lengths) < _DRAWS:
        left = left if left > 0 else draw.expovariate(1 / document)
        target = draw.uniform(2, most) if draw.random() < said.short_pairs else most
        reached = target + draw.uniform(0, _SENTENCE)  # the last sentence is a whole one
        pair, first = min(reached, left), max(_SENTENCE, draw.random() * min(reached, left))
        if first >= left or draw.random() < said.random_next:
            elsewhere = max(_SENTENCE, draw.random() * draw.expovariate(1 / document))
            pair = first + min(max(_SENTENCE, reached - first), elsewhere)
            left -= first
        else:
            left -= pair
        lengths.append(min(pair, most) + MARKS)
    return math.fsum(lengths) / _DRAWS, math.fsum(length**2 for length in lengths) / _DRAWS


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
