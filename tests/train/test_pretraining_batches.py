"""Packed and padded micro batches of pre-training say the same."""

import numpy as np
import pytest
import torch

from bertjob.train.tasks.pretraining.full_sentences import FullSentences
from bertjob.train.tasks.pretraining.masking import Masked, Masking, Vocabulary, mask, packed, padded
from bertjob.train.tasks.pretraining.pairs import NextSentencePairs, PairSettings
from bertjob.train.tasks.pretraining.samples import Samples
from tests.train.corpora import MARKS, random_corpus

VOCABULARY = Vocabulary(103, np.isin(np.arange(200_000), [MARKS.cls, MARKS.sep]), np.zeros(200_000, np.bool_))


def masked(samples: Samples) -> Masked:
    return mask(samples, np.arange(len(samples)), 1, Masking(), VOCABULARY)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return NextSentencePairs(random_corpus(), MARKS, PairSettings(96), 1).samples(np.arange(9))


@pytest.mark.parametrize("length", [None, 128])
def test_both_forms_hold_the_same_tokens_and_targets(samples: Samples, length: int | None) -> None:
    found = masked(samples)
    row, rows = packed(samples, found), padded(samples, found, length)
    assert rows.attention_mask is not None
    assert rows.input_ids.shape == (9, length or int(samples.lengths.max()))
    tokens = rows.attention_mask.bool()
    for name in ("input_ids", "token_type_ids", "position_ids"):
        assert torch.equal(getattr(rows, name)[tokens], getattr(row, name)[0])
    for batch in (row, rows):
        read = batch.input_ids.flatten()[batch.targets["mask_positions"]]
        assert (read == 103).sum() > 0.6 * len(read)
        assert torch.equal(batch.targets["mask_labels"], torch.from_numpy(found.labels))
        assert batch.targets["next_sentence"].tolist() == samples.random_next.tolist()
    assert torch.equal(
        rows.input_ids.flatten()[rows.targets["mask_positions"]], row.input_ids[0][row.targets["mask_positions"]]
    )


def test_what_is_no_pair_has_no_label() -> None:
    samples = FullSentences(random_corpus(), MARKS, 96, 1).samples(np.arange(4))
    assert set(packed(samples, masked(samples)).targets) == {"mask_positions", "mask_labels"}
