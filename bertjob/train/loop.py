"""The training loop: one for all tasks and back ends."""

import functools
from dataclasses import dataclass

import msgspec
import torch

from bertjob.config.job import Job
from bertjob.errors import LeaseError
from bertjob.train.backends import Backend
from bertjob.train.checkpoint.checkpoint import Progress, Saver, TrainState
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.distributed.watchdog import Watch
from bertjob.train.keeper import Keeper
from bertjob.train.reporting.meter import Meter
from bertjob.train.reporting.report import Report
from bertjob.train.rng import seed_micro_batch
from bertjob.train.schedule import learning_rate
from bertjob.train.tasks import Task


@dataclass(frozen=True)
class Training:
    """All that takes part in a training, seen from one rank."""

    job: Job
    task: Task
    backend: Backend
    device: torch.device
    ranks: Ranks
    watch: Watch
    keeper: Keeper
    report: Report
    saver: Saver
    start: Progress
    """Where this start of the run begins."""

    def after(self, step: int) -> TrainState:
        """What a checkpoint after `step` steps holds."""
        samples = step * self.start.global_batch
        progress = msgspec.structs.replace(self.start, step=step, samples=samples)
        return TrainState(progress, self.backend, self.task)


def train(training: Training) -> bool:
    """Take the steps that are left.

    Returns:
        Whether all are taken; False when a signal ended it, with a checkpoint of the last step.

    Raises:
        BertjobError: the loss is no longer finite.
        CheckpointError: a signal came, and nothing of this start could be saved.
        LeaseError: the run directory was moved or removed; there is a checkpoint if one could be written.
    """
    job, report = training.job, training.report
    total = training.task.total_steps
    meter = Meter(training.ranks, training.device, job.train.global_batch, job.train.micro_batch, training.start.step)
    training.backend.model.train()
    for step in range(training.start.step, total):
        done = step + 1
        lr = learning_rate(job.schedule, job.optimizer.lr, step, total)
        with meter.step():
            accumulate(training, step, meter)
            outcome = training.backend.step(lr)
            meter.stepped(outcome)
        if is_logged(done, total, job.train.log_every):
            report.logged(done, meter.read(done), lr, outcome, training.backend.gauges())
        if is_evaluated(done, total, job.evaluation.every_steps):
            evaluate(training, done)
        votes = training.watch.signalled, training.saver.due(done), bool(training.keeper.news)
        signalled, due, displaced = training.ranks.any(*votes)
        if signalled or due or displaced or done == total:
            meter.check(done)
            save(training, done)
        if displaced:
            last_line = functools.partial(training.keeper.last_line, training.saver.outcome, report.job_id)
            raise LeaseError(training.ranks.from_first(last_line, str))
        if signalled:
            training.saver.require_progress()
            return False
    return True


def accumulate(training: Training, step: int, meter: Meter) -> None:
    """Forward and backward through this rank's micro batches of step `step` (from 0)."""
    world = training.ranks.world
    batches = training.task.micro_batches(step, world.rank, world.size)
    for number, batch in enumerate(batches):
        training.report.alive(step)
        seed_micro_batch(training.job.seed, step, world.rank + number * world.size)
        loss = training.task.loss(training.backend.model, batch.to(training.device))
        training.backend.backward(loss, last=number == len(batches) - 1)
        meter.add(loss, batch)


def evaluate(training: Training, step: int) -> None:
    """See after `step` steps how good the model is; the training goes on as if nobody had."""
    with training.report.working(), training.backend.common_weights():
        metrics = training.task.evaluate(training.backend.model, final=False)
    if metrics:
        training.report.evaluated(step, metrics)


def is_evaluated(step: int, total: int, every: int | None) -> bool:
    """Whether the model is evaluated after step `step` (from 1), the end apart."""
    return every is not None and step % every == 0 and step < total


def save(training: Training, step: int) -> None:
    """Write a checkpoint after `step` steps; one that cannot be written is reported."""
    training.report.reached(step)
    training.report.flush()
    with training.report.working():
        training.saver.save(training.after(step), training.report.warn)


def is_logged(step: int, total: int, every: int) -> bool:
    """Whether step `step` (from 1) gets a line: each `every`-th, the first and the last."""
    return step % every == 0 or step in (1, total)
