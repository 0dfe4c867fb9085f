"""Learning rates over the steps: figures."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.spec.job import Schedule
from bertjob.train.schedule import SCHEDULES, constant, cosine, learning_rate, linear, warmup_steps


def test_linear_rises_to_one_and_falls_towards_zero():
    assert [linear(step, 10, 4) for step in range(10)] == pytest.approx(
        [0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    )


def test_cosine_halves_in_the_middle():
    assert [cosine(step, 8, 0) for step in (0, 2, 4, 6)] == pytest.approx([1, 0.853553390593, 0.5, 0.146446609407])


def test_constant_stays():
    assert [constant(step, 5, 2) for step in range(5)] == [0.5, 1, 1, 1, 1]


def test_without_warm_up_the_first_step_gets_the_peak():
    assert [factor(0, 3, 0) for factor in SCHEDULES.values()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("proportion", "total", "steps"), [(0.1, 30, 3), (0.1, 31, 4), (0.0, 7, 0), (1.0, 7, 7), (0.1, 3, 1)]
)
def test_warm_up_is_a_share_of_the_steps_rounded_up(proportion, total, steps):
    assert warmup_steps(proportion, total) == steps


def test_the_job_sets_peak_shape_and_warm_up():
    schedule = Schedule(name="linear", warmup_proportion=0.4)
    assert learning_rate(schedule, 3e-5, 0, 10) == pytest.approx(3e-5 / 4)
    assert learning_rate(schedule, 3e-5, 9, 10) == pytest.approx(3e-5 / 6)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 500), st.floats(0, 1), st.data())
def test_every_step_learns_and_none_exceeds_the_peak(name, total, proportion, data):
    step = data.draw(st.integers(0, total - 1))
    assert 0 < SCHEDULES[name](step, total, warmup_steps(proportion, total)) <= 1
