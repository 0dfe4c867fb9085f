"""Learning rates over the steps: figures."""

from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.config.job import Schedule
from bertjob.train.schedule import DECAYS, factor, learning_rate, warmup_steps


def factors(total: int, **said) -> list[float]:
    return [factor(Schedule(**said), step, total) for step in range(total)]


def test_linear_rises_to_one_and_falls_towards_zero():
    expected = [0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert factors(10, name="linear", warmup_proportion=0.4) == pytest.approx(expected)


def test_cosine_halves_in_the_middle():
    found = factors(8, name="cosine", warmup_proportion=0)
    assert found[::2] == pytest.approx([1, 0.853553390593, 0.5, 0.146446609407])


def test_constant_stays():
    assert factors(5, name="constant", warmup_proportion=0.4) == [0.5, 1, 1, 1, 1]


def test_exponential_falls_by_its_rate_each_decay_steps():
    """DeepSpeed's warmup_linear_decay_exp with the rates of its phase of sequence length 128."""
    schedule = Schedule(
        name="exponential", warmup_proportion=0.02, decay_rate=0.9, decay_steps=1000, total_steps=187000
    )
    assert warmup_steps(0.02, 187000) == 3740
    assert factor(schedule, 1869, 24430) == pytest.approx(0.5)
    assert factor(schedule, 3740, 24430) == 1
    assert factor(schedule, 5740, 24430) == pytest.approx(0.81)
    assert factor(schedule, 24429, 24430) == pytest.approx(0.9**20.689)


def test_a_squared_warm_up_and_a_polynomial_decay():
    expected = [1 / 16, 1 / 4, 9 / 16, 1, 1, (3 / 4) ** 3, (2 / 4) ** 3, (1 / 4) ** 3]
    assert factors(8, name="polynomial", warmup_proportion=0.5, warmup_power=2, power=3) == pytest.approx(expected)


def test_jobs_may_name_the_schedules_of_the_table_and_no_others():
    assert list(get_args(get_type_hints(Schedule)["name"])) == list(DECAYS)


@pytest.mark.parametrize("name", DECAYS)
def test_without_warm_up_the_first_step_gets_the_peak(name):
    assert factors(3, name=name, warmup_proportion=0)[0] == 1


@pytest.mark.parametrize(
    ("proportion", "total", "steps"), [(0.1, 30, 3), (0.1, 31, 4), (0.0, 7, 0), (1.0, 7, 7), (0.1, 3, 1)]
)
def test_warm_up_is_a_share_of_the_steps_rounded_up(proportion, total, steps):
    assert warmup_steps(proportion, total) == steps


def test_the_job_sets_peak_shape_warm_up_and_offset():
    schedule = Schedule(name="linear", warmup_proportion=0.4, offset=1e-6)
    assert learning_rate(schedule, 3e-5, 0, 10) == pytest.approx(3e-5 / 4 + 1e-6)
    assert learning_rate(schedule, 3e-5, 9, 10) == pytest.approx(3e-5 / 6 + 1e-6)


@given(st.sampled_from(sorted(DECAYS)), st.integers(1, 500), st.floats(0, 1), st.data())
def test_every_step_learns_and_none_exceeds_the_peak(name, total, proportion, data):
    step = data.draw(st.integers(0, total - 1))
    assert 0 < factor(Schedule(name=name, warmup_proportion=proportion), step, total) <= 1
