import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.config.checks.batch_size import divisors, solve, total_steps
from bertjob.config.job import LARGEST
from bertjob.errors import SpecError

sizes = st.integers(1, 4096)


@given(sizes, sizes, sizes)
def test_global_is_micro_times_accumulation_times_world(micro, accumulation, world):
    assert solve(micro * accumulation * world, micro, world) == accumulation


@given(sizes, st.integers(1, 64), st.integers(1, 1024))
def test_every_way_that_a_refusal_names_works(global_batch, micro, world):
    try:
        accumulation = solve(global_batch, micro, world)
    except SpecError as refusal:
        ways = str(refusal).split("what works: ")[1]
        for way in ways.split("; "):
            numbers = [int(number) for number in re.findall(r"\d+", way)]
            assert numbers
            for number in numbers:
                if way.startswith("train.global_batch"):
                    assert solve(number, micro, world) >= 1
                elif way.startswith("train.micro_batch"):
                    assert solve(global_batch, number, world) >= 1
                else:
                    assert solve(global_batch, micro, number) >= 1
    else:
        assert micro * accumulation * world == global_batch


def test_the_refusal_names_the_nearest():
    with pytest.raises(SpecError) as refusal:
        solve(24, 3, 16)
    assert str(refusal.value) == (
        "global batch 24 is no multiple of micro batch 3 x 16 ranks = 48; what works: train.global_batch 48; 8 ranks"
    )


def test_the_largest_batches_are_refused_without_going_through_them():
    with pytest.raises(SpecError, match=f"train.global_batch {LARGEST - 1}"):
        solve(LARGEST, 2, 1)  # a prime


@given(st.integers(1, 10_000))
def test_divisors_are_all_and_in_order(number):
    assert divisors(number) == [d for d in range(1, number + 1) if number % d == 0]


@pytest.mark.parametrize(
    ("samples", "epochs", "global_batch", "max_steps", "steps"),
    [
        (1000, 2.0, 24, None, 84),  # 83.3
        (1000, 2.0, 24, 50, 50),
        (1000, 2.0, 24, 500, 84),
        (1000, 0.5, 20, None, 25),
        (10, 0.1, 24, None, 1),
        (30, 0.1, 3, None, 1),  # 0.1 * 30 is a little more than 3 in floating point
    ],
)
def test_total_steps(samples, epochs, global_batch, max_steps, steps):
    assert total_steps(samples, epochs, global_batch, max_steps) == steps
