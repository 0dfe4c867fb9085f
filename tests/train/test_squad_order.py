import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.train.tasks.squad.batches import Order, evaluation_shares, stream

LENGTHS = np.random.default_rng(0).integers(20, 384, 1000)


def order(batching: str, steps: int = 90, global_batch: int = 24, seed: int = 7) -> Order:
    return Order(LENGTHS, seed, global_batch, 3, steps, batching)  # type: ignore[arg-type]


@given(st.integers(1, 50), st.integers(0, 200), st.integers(1, 120))
def test_the_stream_is_one_permutation_an_epoch(samples: int, first: int, count: int) -> None:
    taken = stream(3, samples, first, count)
    whole = stream(3, samples, 0, 400 // samples * samples + samples)
    assert np.array_equal(taken, whole[first : first + count])
    for epoch in whole.reshape(-1, samples):
        assert np.array_equal(np.sort(epoch), np.arange(samples))


def test_epochs_and_seeds_differ() -> None:
    assert not np.array_equal(stream(3, 100, 0, 100), stream(3, 100, 100, 100))
    assert not np.array_equal(stream(3, 100, 0, 100), stream(4, 100, 0, 100))


def test_the_order_is_known() -> None:
    """A change here changes every training at the same seed, and what a checkpoint continues with."""
    assert stream(42, 10, 0, 12).tolist() == [5, 6, 0, 7, 3, 2, 4, 9, 1, 8, 7, 3]


@pytest.mark.parametrize("batching", ["packed", "pools", "padded"])
def test_a_training_sees_each_sample_of_the_stream_once(batching: str) -> None:
    some = order(batching)
    seen = np.concatenate([some.micro_batches(step).ravel() for step in range(some.steps)])
    assert np.array_equal(np.sort(seen), np.sort(stream(7, 1000, 0, 90 * 24)))


def test_packed_and_padded_have_the_same_micro_batches_and_each_step_its_part_of_the_stream() -> None:
    for step in (0, 41, 42, 89):
        micro_batches = order("packed").micro_batches(step)
        assert np.array_equal(micro_batches, order("padded").micro_batches(step))
        assert micro_batches.shape == (8, 3)
        assert np.array_equal(np.sort(micro_batches.ravel()), np.sort(stream(7, 1000, step * 24, 24)))


def test_packed_micro_batches_have_like_token_totals() -> None:
    dealt, plain = [], []
    for step in range(40):
        dealt.append(LENGTHS[order("packed").micro_batches(step)].sum(1))
        plain.append(LENGTHS[stream(7, 1000, step * 24, 24)].reshape(8, 3).sum(1))
    assert np.std(dealt, axis=1).mean() < 0.45 * np.std(plain, axis=1).mean()


def test_pools_have_samples_of_like_length_in_steps_of_shuffled_lengths() -> None:
    some = order("pools")
    lengths = np.array([LENGTHS[some.micro_batches(step)] for step in range(some.steps)])
    padded = lengths.max(2).sum() * 3
    assert padded / lengths.sum() < 1.02
    means = lengths[:50].mean((1, 2))
    assert abs(np.corrcoef(means, np.arange(50))[0, 1]) < 0.5
    assert lengths[50:].min() < 60  # the last pool, of 40 steps, has short ones too
    assert lengths[50:].max() > 350


@pytest.mark.parametrize("batching", ["packed", "pools", "padded"])
def test_ranks_share_a_steps_micro_batches_whatever_their_number(batching: str) -> None:
    some = order(batching)
    for step in (0, 60):
        alone = some.micro_batches(step)
        for world_size in (2, 4, 8):
            shares = [some.micro_batches(step)[rank::world_size] for rank in range(world_size)]
            assert [len(share) for share in shares] == [8 // world_size] * world_size
            together = np.stack(shares, 1).reshape(8, 3)
            assert np.array_equal(together, alone)


def test_a_step_depends_on_the_step_alone() -> None:
    first = order("pools").micro_batches(70)
    some = order("pools")
    for step in (3, 80, 0):
        some.micro_batches(step)
    assert np.array_equal(some.micro_batches(70), first)


def test_a_batch_larger_than_the_set_goes_round() -> None:
    few = Order(LENGTHS[:5], 1, 12, 3, 4, "packed")
    counts = np.bincount(np.concatenate([few.micro_batches(step).ravel() for step in range(4)]), minlength=5)
    assert counts.sum() == 48
    assert counts.max() - counts.min() <= 1


@given(
    questions=st.lists(st.integers(1, 4), min_size=1, max_size=40),
    world_size=st.integers(1, 7),
    micro_batch=st.integers(1, 9),
)
def test_ranks_evaluate_whole_questions_in_the_same_number_of_passes(
    questions: list[int], world_size: int, micro_batch: int
) -> None:
    question = np.repeat(np.arange(len(questions)), questions)
    lengths = np.random.default_rng(1).integers(5, 100, len(question))
    shares = [evaluation_shares(lengths, question, rank, world_size, micro_batch) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    own = [np.concatenate([s.samples for s in share if s.counts] or [np.array([], int)]) for share in shares]
    assert np.array_equal(np.sort(np.concatenate(own)), np.arange(len(question)))
    for samples in own:
        asked = np.unique(question[samples])
        assert np.isin(question, asked).sum() == len(samples)  # all windows of each question
        assert (np.diff(lengths[samples]) <= 0).all()
    assert all(0 < len(s.samples) <= micro_batch for share in shares for s in share)


def test_ranks_evaluate_like_amounts() -> None:
    question = np.arange(1000)
    loads = [
        sum(LENGTHS[share.samples].sum() for share in evaluation_shares(LENGTHS, question, rank, 4, 32) if share.counts)
        for rank in range(4)
    ]
    assert max(loads) - min(loads) < 400
