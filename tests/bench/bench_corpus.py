"""How fast text becomes samples, on one core.

Preparing: what one process of `bertjob data prepare` does with a piece of text, from bytes to a written shard, against
a plain loop that tokenises line by line with the same tokenizer and writes nothing. They take turns on the same pieces
of English books; what counts is the median over the rounds of the ratio of their CPU times. The first round, in which
no word is known, counts too: books are worse than any large corpus, where few words are new.

Samples: pairs and their masks in micro batches, ready to be sent to a device.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bertjob.train.corpus.encode import Encoder
from bertjob.train.corpus.reader import Corpus
from bertjob.train.corpus.shards import open_shard
from bertjob.train.corpus.sources import Span, find_sources, spans
from bertjob.train.corpus.vocabulary import marks
from bertjob.train.corpus.workers import Making, Piece, make_shard
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.tasks.pretraining.masking import Masking, Vocabulary, mask
from bertjob.train.tasks.pretraining.pairs import NextSentencePairs, PairSettings
from bertjob.train.tasks.pretraining.samples import Marks

ROUNDS, SPANS, MICRO_BATCH = 8, 3, 64
GOAL = 3.0
SAMPLES_GOAL = 10_000
"""Samples a second and core at 128 tokens: several times what the fastest GPU takes of BERT-large."""


def main() -> int:
    """Measure and print; 0 if all goals are met."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # both ways on one core
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data:
        print("needs books: set BERTJOB_TEST_DATA to a folder with corpora/gutenberg and vocab.txt")
        return 2
    vocab = Path(data) / "vocab.txt"
    pieces = pieces_of(Path(data) / "corpora" / "gutenberg")
    with tempfile.TemporaryDirectory() as folder:
        missed = preparing(pieces, vocab, Path(folder))
        shards = [open_shard(Path(folder), piece.name) for piece in pieces]
        return missed + sampling(Corpus.of(shards), load_tokenizer(vocab))


def pieces_of(books: Path) -> list[Piece]:
    """Some MB of text each, ROUNDS of them."""
    found = [span for source in find_sources([str(books)], prose=False) for span in spans(source)]
    rounds = [found[SPANS * number : SPANS * (number + 1)] for number in range(ROUNDS)]
    return [Piece(f"{number:05}", tuple(own), "") for number, own in enumerate(rounds)]


def preparing(pieces: Sequence[Piece], vocab: Path, folder: Path) -> int:
    """Paired rounds; 1 where the goal is missed."""
    encoder, plain = Encoder(load_tokenizer(vocab)), load_tokenizer(vocab)
    making = Making(folder, False, 0.005, plain.tokenizer.get_vocab_size())
    own, theirs = [], []
    for piece in pieces:
        size = sum(len(span.text) for span in piece.spans) / 1e6
        turns: list[tuple[list[float], Callable[[], object]]] = [
            (own, lambda piece=piece: make_shard(piece, making, encoder)),
            (theirs, lambda piece=piece: plain_loop(piece.spans, plain)),
        ]
        for found, work in turns if len(own) % 2 else reversed(turns):
            found.append(size / cpu_seconds(work))
    ratio = statistics.median(ours / other for ours, other in zip(own, theirs, strict=True))
    print(f"prepare: {statistics.median(own):.1f} MB/s a core, plain loop {statistics.median(theirs):.1f} MB/s")
    print(f"  x {ratio:.2f} by CPU time (goal {GOAL}), first round x {own[0] / theirs[0]:.2f}")
    return int(ratio < GOAL)


def plain_loop(text: Sequence[Span], tokenizer: BertTokenizer) -> list[list[int]]:
    """What one writes first."""
    lines = [line for span in text for line in span.text.decode().split("\n") if line.strip()]
    return [tokenizer.tokenizer.encode(line, add_special_tokens=False).ids for line in lines]


def sampling(corpus: Corpus, tokenizer: BertTokenizer) -> int:
    """Pairs and masks of micro batches; 1 where the goal is missed."""
    ids = marks(tokenizer)
    pairs = NextSentencePairs(corpus, Marks(ids["[CLS]"], ids["[SEP]"]), PairSettings(128), 1)
    vocabulary = Vocabulary.of(tokenizer.tokenizer.get_vocab())
    masking = Masking(max_predictions_per_seq=20)
    planning = cpu_seconds(lambda: pairs.lengths(np.arange(1)))
    rates = []
    for first in range(0, 100 * MICRO_BATCH, MICRO_BATCH):
        positions = np.arange(first, first + MICRO_BATCH)
        spent = cpu_seconds(
            lambda positions=positions: mask(pairs.samples(positions), positions, 1, masking, vocabulary)
        )
        rates.append(MICRO_BATCH / spent)
    rate = statistics.median(rates)
    print(f"pairs and masks: {rate:,.0f} samples/s a core at 128 tokens (goal {SAMPLES_GOAL:,})")
    print(f"  the plan of an epoch: {corpus.size.sentences / planning / 1e6:.1f} million sentences/s")
    return int(rate < SAMPLES_GOAL)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before
