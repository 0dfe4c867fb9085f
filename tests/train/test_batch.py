"""Dealing: hands weigh the same, are the same for all who look, and nobody looks at more than he must."""

import numpy as np

from bertjob.train.data.batch import Int64, deal, hands_of

SIZE = 64
BATCH = range(3 * 2**16, 4 * 2**16)
"""The batch of 64K, in its fourth step."""


def weights(samples: Int64) -> Int64:
    """Lengths as pre-training has them: nine of ten full, the others short."""
    short = np.random.default_rng(1).integers(5, 128, 2**18)
    return np.where(np.arange(2**18) % 10 == 0, short, 128)[samples]


def all_hands() -> list[Int64]:
    return list(hands_of(BATCH, SIZE, np.arange(len(BATCH) // SIZE), weights))


def test_dealing_goes_to_and_fro() -> None:
    assert deal(np.arange(6), np.array([3, 1, 4, 1, 5, 9]), 2).T.tolist() == [[5, 0, 1], [4, 2, 3]]


def test_each_sample_is_in_one_hand_and_hands_weigh_the_same() -> None:
    hands = all_hands()
    assert sorted(np.concatenate(hands).tolist()) == list(BATCH)
    assert {len(hand) for hand in hands} == {SIZE}
    weighed = np.array([weights(hand).sum() for hand in hands])
    assert weighed.max() < 1.02 * weighed.mean()


def test_a_rank_of_a_thousand_gets_its_own_hand_and_weighs_one_block() -> None:
    asked = []

    def weigh(samples: Int64) -> Int64:
        asked.append(len(samples))
        return weights(samples)

    (hand,) = hands_of(BATCH, SIZE, np.array([777]), weigh)
    assert hand.tolist() == all_hands()[777].tolist()
    assert asked == [2048]


def test_hands_larger_than_a_block_and_batches_of_no_whole_blocks() -> None:
    hands = list(hands_of(range(10_000), 5000, np.array([1]), weights))
    assert [len(hand) for hand in hands] == [5000]
    hands = list(hands_of(range(2400), 300, np.arange(8), weights))
    assert sorted(np.concatenate(hands).tolist()) == list(range(2400))
