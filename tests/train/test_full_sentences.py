"""Samples of full sentences: filled as a plain loop fills them, with nothing lost."""

import numpy as np
import pytest

from bertjob.errors import SpecError
from bertjob.train.corpus.reader import Corpus
from bertjob.train.tasks.pretraining.full_sentences import FullSentences
from tests.train.corpora import FIRST, MARKS, numbered_corpus, random_corpus

SEED = 3


def filled(corpus: Corpus, longest: int) -> list[list[int]]:
    """The samples by a plain loop; no sentence may be too long."""
    samples = []
    for shard in corpus.shards:
        row: list[int] = []
        for document in range(shard.size.documents):
            for sentence in range(shard.documents[document], shard.documents[document + 1]):
                text = shard.tokens[shard.sentences[sentence] : shard.sentences[sentence + 1]].tolist()
                begins = sentence == shard.documents[document]
                between = [MARKS.sep] if begins and row else []
                if len(row) + len(between) + len(text) > longest - 2:
                    samples.append([MARKS.cls, *row, MARKS.sep])
                    row, between = [], []
                row += between + text
        samples.append([MARKS.cls, *row, MARKS.sep])
    return samples


@pytest.mark.parametrize("longest", [42, 128, 512])
def test_samples_are_those_of_a_plain_loop(longest: int) -> None:
    corpus = random_corpus(documents=60)
    wanted = filled(corpus, longest)
    source = FullSentences(corpus, MARKS, longest, SEED)
    samples = source.samples(np.arange(len(wanted)))
    found = [ids.tolist() for ids in np.split(samples.input_ids, samples.offsets[1:-1])]
    assert sorted(found) == sorted(wanted)
    assert found != wanted  # in another order
    assert np.array_equal(samples.lengths, source.lengths(np.arange(len(wanted))))


def test_they_are_no_pairs() -> None:
    samples = FullSentences(random_corpus(), MARKS, 64, SEED).samples(np.arange(10))
    assert (samples.random_next == -1).all()
    assert not samples.token_type_ids.any()


def test_a_sentence_that_is_too_long_shows_a_window_of_its_text() -> None:
    source = FullSentences(numbered_corpus([[[100], [3]]]), MARKS, 22, SEED)
    begins = set()
    for position in range(60):
        sample = source.samples(np.array([position]))
        assert sample.lengths[0] <= 22
        if sample.lengths[0] == 22:
            text = sample.input_ids[1:-1]
            assert (np.diff(text) == 1).all()
            assert text[-1] < FIRST + 100
            begins.add(int(text[0]))
    assert len(begins) > 10


def test_no_room_is_refused() -> None:
    with pytest.raises(SpecError, match="no room"):
        FullSentences(numbered_corpus([[[5]]]), MARKS, 2, SEED)
