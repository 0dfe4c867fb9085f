"""The masks' statistics are those of the papers, to a thousandth, and the function is pure."""

import numpy as np
import pytest

from bertjob.train.data.special_tokens import ROBERTA
from bertjob.train.tasks.pretraining.masking import Masked, Masking, Vocabulary, mask
from bertjob.train.tasks.pretraining.samples import Samples, bounds

TOLERANCE = 1e-3
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(900)] + [f"##w{number}" for number in range(95)]
TOKENS = {token: number for number, token in enumerate([*MARKS, *WORDS])}
VOCABULARY = Vocabulary.of(TOKENS)
CLS, SEP, MASK = TOKENS["[CLS]"], TOKENS["[SEP]"], TOKENS["[MASK]"]
CONTINUES = VOCABULARY.continues


def random_samples(count: int, least: int, most: int, seed: int = 0) -> Samples:
    """Pairs of words, of which every third token goes on with a word."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(least, most + 1, count)
    offsets = bounds(lengths)
    ids = rng.integers(len(MARKS), 905, offsets[-1])
    ids[rng.random(len(ids)) < 1 / 3] = 950
    second = lengths // 2
    ids[offsets[:-1]] = CLS
    ids[offsets[1:] - 1] = SEP
    ids[offsets[:-1] + second - 1] = SEP
    return Samples(ids.astype(np.int32), offsets, second, np.zeros(count, np.int64))


@pytest.fixture(scope="module")
def many() -> Samples:
    return random_samples(30_000, 100, 128)


def masked(samples: Samples, masking: Masking | None = None, seed: int = 1) -> Masked:
    return mask(samples, np.arange(len(samples)), seed, masking or Masking(), VOCABULARY)


def per_sample(samples: Samples, found: Masked) -> np.ndarray:
    owner = np.searchsorted(samples.offsets, found.positions, side="right") - 1
    return np.bincount(owner, minlength=len(samples))


@pytest.mark.parametrize("whole_words", [False, True])
def test_fifteen_percent_are_predicted_and_eighty_ten_ten_of_them_masked_random_and_kept(
    many: Samples, whole_words: bool
) -> None:
    found = masked(many, Masking(whole_words=whole_words))
    free = ~VOCABULARY.special[many.input_ids]
    assert len(found.positions) / free.sum() == pytest.approx(0.15, abs=TOLERANCE)
    read = found.input_ids[found.positions]
    by_chance = 0.1 / len(VOCABULARY.ordinary)  # a random token may be the very same
    assert (read == MASK).mean() == pytest.approx(0.8, abs=TOLERANCE)
    assert (read == found.labels).mean() == pytest.approx(0.1 + by_chance, abs=TOLERANCE)
    assert ((read != found.labels) & (read != MASK)).mean() == pytest.approx(0.1 - by_chance, abs=TOLERANCE)


def test_other_shares_hold_as_exactly(many: Samples) -> None:
    found = masked(many, Masking(share=0.4, mask_share=0.5, random_share=0.25))
    read = found.input_ids[found.positions]
    assert len(found.positions) / (~VOCABULARY.special[many.input_ids]).sum() == pytest.approx(0.4, abs=TOLERANCE)
    assert (read == MASK).mean() == pytest.approx(0.5, abs=TOLERANCE)


@pytest.mark.parametrize("whole_words", [False, True])
def test_marks_are_never_masked_and_never_stand_in(many: Samples, whole_words: bool) -> None:
    found = masked(many, Masking(whole_words=whole_words))
    assert not VOCABULARY.special[found.labels].any()
    read = found.input_ids[found.positions]
    assert not VOCABULARY.special[read[read != MASK]].any()
    rest = np.ones(len(many.input_ids), np.bool_)
    rest[found.positions] = False
    assert np.array_equal(found.input_ids[rest], many.input_ids[rest])
    assert np.array_equal(found.labels, many.input_ids[found.positions])
    assert (np.diff(found.positions) > 0).all()


def test_every_place_is_masked_as_often(many: Samples) -> None:
    found = masked(many)
    place = many.position_ids[found.positions]
    often = np.bincount(place, minlength=100)[1:90] / len(many)
    separators = np.bincount(many.second - 1, minlength=100)[1:90] / len(many)
    assert np.allclose(often / (1 - separators), 0.15, atol=0.01)


def test_random_tokens_are_any_ordinary_ones(many: Samples) -> None:
    found = masked(many)
    read = found.input_ids[found.positions]
    others = read[(read != found.labels) & (read != MASK)]
    often = np.bincount(others, minlength=len(TOKENS))[len(MARKS) :]
    assert often.min() > 0
    assert often.std() / often.mean() < 0.25


def test_max_predictions_bound_a_sample(many: Samples) -> None:
    for whole_words in (False, True):
        found = masked(many, Masking(whole_words=whole_words, max_predictions_per_seq=16))
        assert per_sample(many, found).max() == 16


def test_a_sample_has_at_least_one_mask_however_short() -> None:
    samples = random_samples(500, 5, 7)
    assert per_sample(samples, masked(samples)).min() == 1


def test_words_longer_than_the_bound_leave_their_place_to_those_that_fit() -> None:
    ids = np.array([CLS, 10, *[950] * 30, 11, SEP] * 500 + [CLS, 10, *[950] * 30, SEP] + [CLS, SEP, SEP], np.int32)
    lengths = np.array([34] * 500 + [33, 3])
    samples = Samples(ids, bounds(lengths), lengths, np.full(502, -1))
    found = masked(samples, Masking(whole_words=True, max_predictions_per_seq=4))
    assert found.positions.tolist() == (34 * np.arange(500) + 32).tolist()


def test_whole_words_are_masked_whole(many: Samples) -> None:
    found = masked(many, Masking(whole_words=True))
    hidden = np.zeros(len(many.input_ids), np.bool_)
    hidden[found.positions] = True
    goes_on = np.flatnonzero(CONTINUES[many.input_ids[1:]] & ~VOCABULARY.special[many.input_ids[:-1]])
    assert np.array_equal(hidden[goes_on], hidden[goes_on + 1])
    apart = masked(many)
    hidden[:] = False
    hidden[apart.positions] = True
    assert not np.array_equal(hidden[goes_on], hidden[goes_on + 1])


def test_of_bytes_a_word_goes_on_until_the_next_space() -> None:
    tokens = {
        token: number for number, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "Ġa", "b", "Ġc"])
    }
    vocabulary = Vocabulary.of(tokens, ROBERTA, byte_level=True)
    assert vocabulary.mask == 4
    assert np.flatnonzero(vocabulary.special).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(vocabulary.continues).tolist() == [6]


def test_the_same_names_give_the_same_masks_in_any_company(many: Samples) -> None:
    together = masked(many)
    rows = np.array([7, 3, 29_999])
    apart = mask(many.take(rows), rows, 1, Masking(), VOCABULARY)
    whole = [together.input_ids[many.offsets[row] : many.offsets[row + 1]] for row in rows]
    assert np.array_equal(apart.input_ids, np.concatenate(whole))


def test_another_seed_or_name_gives_other_masks(many: Samples) -> None:
    first = masked(many).positions
    other_names = mask(many, np.arange(len(many)) + len(many), 1, Masking(), VOCABULARY).positions
    for other in (masked(many, seed=2).positions, other_names):
        common = len(np.intersect1d(first, other)) / len(first)
        assert common == pytest.approx(0.15, abs=0.01)  # no more than by chance


def test_no_samples_have_no_masks() -> None:
    found = masked(Samples(np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)))
    assert len(found.positions) == 0
