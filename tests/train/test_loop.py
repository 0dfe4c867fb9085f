"""Pieces of the loop: which steps are told, what is measured, and random numbers that know no ranks."""

import pytest
import torch

from bertjob.errors import BertjobError
from bertjob.rundir.world import World
from bertjob.train.backends import StepOutcome
from bertjob.train.data.batch import Batch
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.loop import is_logged
from bertjob.train.reporting.meter import Meter
from bertjob.train.rng import micro_batch_seed, restore_rng_states, rng_states, seed_micro_batch

ALONE = Ranks(World(0, 1, 0, 1, "test"), group=None)
IDS = torch.zeros((1, 10), dtype=torch.int64)
BATCH = Batch(IDS, IDS, IDS, seqlens=(4, 6), attention_mask=None, targets={})


def test_the_first_the_last_and_each_tenth_step_are_told():
    assert [step for step in range(1, 25) if is_logged(step, 24, 10)] == [1, 10, 20, 24]


def meter() -> Meter:
    """Of one rank, whose steps have two micro batches of two samples."""
    return Meter(ALONE, torch.device("cpu"), global_batch=4, micro_batch=2, start=0)


def take(meter: Meter, *losses: float) -> None:
    with meter.step():
        for loss in losses:
            meter.add(torch.tensor(loss), BATCH)


def test_a_reading_has_the_loss_of_the_last_step_and_the_rate_of_all_since_the_last_reading():
    measured = meter()
    take(measured, 1.0, 2.0)
    take(measured, 3.0, 6.0)
    reading = measured.read(2)
    assert reading.loss == 4.5
    assert reading.tokens_per_second / reading.samples_per_second == pytest.approx(40 / 8)
    assert reading.samples_per_second * reading.seconds_per_step == pytest.approx(4)
    take(measured, 7.0, 7.0)
    assert measured.read(3).loss == 7.0


def test_a_loss_that_is_not_finite_is_found_though_later_ones_are(monkeypatch):
    measured = meter()
    take(measured, 1.0, float("inf"))
    take(measured, 1.0, 1.0)
    with pytest.raises(BertjobError, match="infinite or not a number in steps 1 to 2"):
        measured.read(2)


def test_one_bad_step_is_named_alone():
    measured = meter()
    take(measured, 1.0, 1.0)
    measured.check(1)
    take(measured, float("nan"), 1.0)
    with pytest.raises(BertjobError, match="infinite or not a number at step 2"):
        measured.check(2)


def test_a_skipped_step_did_no_harm():
    measured = meter()
    take(measured, 1.0, float("inf"))
    measured.stepped(StepOutcome(None, skipped=True, loss_scale=1024.0))
    take(measured, 1.0, 1.0)
    measured.stepped(StepOutcome(1.0, skipped=False, loss_scale=1024.0))
    assert measured.read(2).loss == 1.0


def test_an_infinite_gradient_is_found_before_its_weights_are_saved():
    measured = meter()
    take(measured, 1.0, 1.0)
    measured.stepped(StepOutcome(float("inf"), skipped=False, loss_scale=None))
    with pytest.raises(BertjobError, match="the loss or its gradient became infinite or not a number at step 1"):
        measured.check(1)


def test_seeds_differ_by_job_step_and_micro_batch():
    seeds = {micro_batch_seed(seed, step, index) for seed in range(5) for step in range(20) for index in range(20)}
    assert len(seeds) == 5 * 20 * 20
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_dropout_of_a_micro_batch_depends_on_nothing_before():
    torch.rand(7)
    seed_micro_batch(42, 3, 1)
    first = torch.rand(4)
    torch.rand(100)
    seed_micro_batch(42, 3, 1)
    assert torch.equal(torch.rand(4), first)


def test_states_of_all_generators_come_back():
    import random

    import numpy as np

    states = rng_states()
    drawn = (random.random(), np.random.rand(), torch.rand(1).item())
    restore_rng_states(states)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == drawn
