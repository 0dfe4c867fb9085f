"""Pairs are those of BERT's original data, and a position of the stream is all that names them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.config.load import load_job
from bertjob.errors import DataError, SpecError
from bertjob.estimate.sample_counts import pair_samples
from bertjob.train.corpus.reader import Corpus
from bertjob.train.tasks.pretraining.keyed_random import keys
from bertjob.train.tasks.pretraining.pairs import NextSentencePairs, PairSettings, _truncated
from bertjob.train.tasks.pretraining.samples import Samples
from tests.train.corpora import FIRST, MARKS, numbered_corpus, random_corpus

SEED = 3


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return random_corpus()


def segments(samples: Samples) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Both segments without marks, and the label."""
    found = []
    for row in range(len(samples)):
        ids = samples.input_ids[samples.offsets[row] : samples.offsets[row + 1]]
        second = samples.second[row]
        assert ids[0] == MARKS.cls
        assert ids[second - 1] == ids[-1] == MARKS.sep
        found.append((ids[1 : second - 1], ids[second:-1], int(samples.random_next[row])))
    return found


def document_of(corpus: Corpus, token: int) -> int:
    """The number of the document that a token of a numbered corpus is in."""
    base = FIRST
    for shard, first in zip(corpus.shards, corpus.document_base, strict=False):
        if token < base + len(shard.tokens):
            sentence = np.searchsorted(shard.sentences, token - base, side="right") - 1
            return int(first + np.searchsorted(shard.documents, sentence, side="right") - 1)
        base += len(shard.tokens)
    raise AssertionError(token)


def epoch_length(pairs: NextSentencePairs) -> int:
    pairs.lengths(np.array([0]))
    return pairs._epochs._ends[0]


def test_segments_are_running_text_and_the_second_follows_or_is_from_another_document(corpus: Corpus) -> None:
    pairs = NextSentencePairs(corpus, MARKS, PairSettings(), SEED)
    for first, second, random_next in segments(pairs.samples(np.arange(600))):
        assert len(first)
        assert len(second)
        assert (np.diff(first) == 1).all()
        assert (np.diff(second) == 1).all()
        same = document_of(corpus, first[0]) == document_of(corpus, second[0])
        assert same == (not random_next)
        assert document_of(corpus, first[0]) == document_of(corpus, first[-1])
        assert document_of(corpus, second[0]) == document_of(corpus, second[-1])
        if not random_next:
            assert second[0] > first[-1]


def test_an_epoch_shows_every_token_once_but_for_what_is_cut_and_what_is_from_elsewhere(corpus: Corpus) -> None:
    pairs = NextSentencePairs(corpus, MARKS, PairSettings(4000), SEED)  # so long that nothing is cut
    seen: list[int] = []
    for first, second, random_next in segments(pairs.samples(np.arange(epoch_length(pairs)))):
        seen += first.tolist()
        if not random_next:
            seen += second.tolist()
    assert sorted(seen) == list(range(FIRST, FIRST + corpus.size.tokens))


@pytest.mark.parametrize("mean", [100, 330, 1000])
def test_an_estimate_knows_how_long_pairs_are(mean: int) -> None:
    rng = np.random.default_rng(SEED)
    sentences = [max(1, round(tokens / 20)) for tokens in rng.exponential(mean, 600)]
    corpus = numbered_corpus([[[20] * number for number in sentences]])
    job = load_job("pretrain-seq512").value
    estimated = pair_samples(job, corpus.size.tokens / corpus.size.documents)
    lengths = NextSentencePairs(corpus, MARKS, PairSettings(512), SEED).lengths(np.arange(2000))
    assert estimated.tokens == pytest.approx(lengths.mean(), rel=0.06)
    assert estimated.squares == pytest.approx((lengths**2).mean(), rel=0.1)


def test_half_of_the_pairs_that_could_follow_are_random() -> None:
    corpus = random_corpus(1, shards=8, documents=200, longest=12)
    pairs = NextSentencePairs(corpus, MARKS, PairSettings(64, short=0.0), SEED)
    samples = pairs.samples(np.arange(epoch_length(pairs)))
    ended = sum(shard.size.documents for shard in corpus.shards) / len(samples)  # last pairs may have one sentence
    assert samples.random_next.mean() == pytest.approx(0.5, abs=0.02 + ended / 2)
    never = NextSentencePairs(corpus, MARKS, PairSettings(64, random_next=0.0), SEED)
    lonely = segments(never.samples(np.arange(2000)))
    assert sum(random_next for *_, random_next in lonely) < 150  # single sentences at ends of documents


def test_one_pair_in_ten_is_short(corpus: Corpus) -> None:
    long = numbered_corpus([[[5] * 20_000, [5] * 20_000]])
    pairs = NextSentencePairs(long, MARKS, PairSettings(128), SEED)
    lengths = pairs.lengths(np.arange(3000))
    assert (lengths < 120).mean() == pytest.approx(0.1, abs=0.02)
    assert lengths.min() < 30
    assert lengths.max() == 128


@pytest.mark.parametrize("longest", [16, 64, 512])
def test_no_pair_is_longer_than_it_may_be_and_lengths_are_known_beforehand(corpus: Corpus, longest: int) -> None:
    pairs = NextSentencePairs(corpus, MARKS, PairSettings(longest), SEED)
    positions = np.arange(1000)
    samples = pairs.samples(positions)
    assert samples.lengths.max() <= longest
    assert np.array_equal(samples.lengths, pairs.lengths(positions))


@given(st.integers(1, 200), st.integers(1, 200), st.integers(2, 130))
def test_truncation_leaves_what_the_original_leaves(first: int, second: int, most: int) -> None:
    start, length = _truncated(np.array([[1000, 5000]]), np.array([[first, second]]), most, keys(1, np.array([7])))
    left = [first, second]
    while sum(left) > most:
        left[0 if left[0] > left[1] else 1] -= 1
    assert length.tolist() == [left]
    assert (start >= [1000, 5000]).all()
    assert (start + length <= [1000 + first, 5000 + second]).all()


def test_truncation_takes_from_both_ends_alike() -> None:
    rows = 2000
    start, length = _truncated(
        np.zeros((rows, 2), np.int64), np.tile([150, 20], (rows, 1)), 70, keys(1, np.arange(rows))
    )
    assert (length == [50, 20]).all()
    assert start[:, 0].mean() == pytest.approx(50, abs=0.5)  # of 100 tokens lost
    assert start[:, 0].std() == pytest.approx(5, abs=0.3)
    assert not start[:, 1].any()


def test_the_stream_does_not_depend_on_who_asks_for_which_part_of_it(corpus: Corpus) -> None:
    whole = NextSentencePairs(corpus, MARKS, PairSettings(), SEED).samples(np.arange(900))
    other = NextSentencePairs(corpus, MARKS, PairSettings(), SEED)
    for rank in (2, 0, 1):
        rows = np.arange(rank, 900, 3)[::-1]
        part = other.samples(rows)
        assert np.array_equal(part.input_ids, whole.take(rows).input_ids)
        assert np.array_equal(part.random_next, whole.random_next[rows])


def test_epochs_have_other_pairs_until_the_plans_recur(corpus: Corpus) -> None:
    pairs = NextSentencePairs(corpus, MARKS, PairSettings(dupe_factor=2), SEED)
    length = epoch_length(pairs)
    pairs.lengths(np.array([4 * length]))
    ends = pairs._epochs._ends

    def epoch(number: int) -> set[bytes]:
        samples = pairs.samples(np.arange(([0, *ends])[number], ends[number]))
        return {first.tobytes() + second.tobytes() for first, second, _ in segments(samples)}

    assert len(epoch(0) & epoch(1)) < 0.2 * length
    assert epoch(0) == epoch(2)
    assert epoch(1) == epoch(3)
    first = pairs.samples(np.arange(length)).input_ids
    again = pairs.samples(np.arange(ends[1], ends[2])).input_ids
    assert not np.array_equal(first, again)  # in another order


def test_another_seed_makes_other_pairs(corpus: Corpus) -> None:
    one, other = (NextSentencePairs(corpus, MARKS, PairSettings(), seed).samples(np.arange(50)) for seed in (1, 2))
    assert not np.array_equal(one.input_ids, other.input_ids)


def test_segment_ids_are_zero_up_to_the_first_separator(corpus: Corpus) -> None:
    samples = NextSentencePairs(corpus, MARKS, PairSettings(), SEED).samples(np.array([5]))
    assert samples.token_type_ids.tolist() == [0] * samples.second[0] + [1] * (samples.lengths[0] - samples.second[0])


def test_what_has_no_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="one document"):
        NextSentencePairs(numbered_corpus([[[5, 5]]]), MARKS, PairSettings(), SEED)
    with pytest.raises(SpecError, match="no room for two segments"):
        NextSentencePairs(numbered_corpus([[[5], [5]]]), MARKS, PairSettings(4), SEED)
