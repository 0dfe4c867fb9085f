"""A training around its loop: task, back end and resume before it; evaluation and the trained model after it."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import torch
from torch import nn

from bertjob.config.checks import batch_size, compression
from bertjob.config.job import Job
from bertjob.config.registry.code import load_code
from bertjob.config.registry.tasks import TASKS, evaluates
from bertjob.errors import REQUEUE_EXIT_CODE, CheckpointError, DataError, SpecError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.state import read_state
from bertjob.rundir.world import World
from bertjob.text import counted
from bertjob.train.backends import Backend
from bertjob.train.checkpoint import checkpoint
from bertjob.train.checkpoint.checkpoint import Progress, Saver
from bertjob.train.checkpoint.export import export_model, write_together
from bertjob.train.context import Start, Work
from bertjob.train.corpus.compare_shards import verify_shards
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.loop import Training, train
from bertjob.train.model.kernel.install import install
from bertjob.train.reporting.hparams import hparams, versions, write_hparams, write_provenance
from bertjob.train.reporting.report import Report
from bertjob.train.tasks import Task

_LOG = logging.getLogger(__name__)


def make_backend(model: nn.Module, job: Job, world: World, device: torch.device, accumulation: int) -> Backend:
    """The job's back end around a model on the CPU, the same on every rank.

    Args:
        model: a task's model.
        job: says which back end, its optimizer and its precision.
        world: this rank's place; for more than one rank torch.distributed must be initialised.
        device: where this rank trains.
        accumulation: micro batches a rank takes in one step.

    Raises:
        SpecError: what the job says does not go together on this device.
        PreflightError: the back end's package is missing.
    """
    # Either import takes seconds; DeepSpeed must not be imported before its back end has set its environment.
    if job.backend == "deepspeed":
        from bertjob.train.backends.deepspeed import DeepSpeedBackend

        return DeepSpeedBackend(model, job, world, device, accumulation)
    from bertjob.train.backends.torch import TorchBackend

    return TorchBackend(model, job, world, device, accumulation)


def is_finished(run_dir: RunDir, job: Job) -> bool:
    """Whether nothing is left to do: trained, evaluated where the job says on what, exported."""
    state = read_state(run_dir.state)
    return (
        state is not None
        and state.phase == "done"
        and run_dir.model.is_dir()
        and (not evaluates(job) or read_evaluation(run_dir) is not None)
    )


def prepare(begun: Start, devices: Sequence[str]) -> Training:
    """Make the task and the back end, and go back to the newest checkpoint; called by all ranks.

    Args:
        begun: this rank's place among the others.
        devices: every rank's, in words.

    Raises:
        BertjobError: the batches do not come out even, the data or model is no good, the checkpoint does not fit.
    """
    job, ranks, device, report, held = begun.job, begun.ranks, begun.device, begun.report, begun.keeper.held
    run_dir = held.run_dir
    accumulation = batch_size.solve(job.train.global_batch, job.train.micro_batch, ranks.world.size)
    report.phase("features")
    task = cast("type[Task]", load_code(TASKS[job.task].code)).from_job(job, held, ranks, device)
    if ranks.world.size > 1 and (wrong := compression.freeze_problem(job.optimizer, task.total_steps)):
        raise SpecError(wrong)
    flags = install(task.model, job, ranks.world, device)
    backend = make_backend(task.model, job, ranks.world, device, accumulation)
    values = hparams(job, ranks.world, device, devices, accumulation, task.total_steps, task.model)
    values["kernel_flags"] = msgspec.to_builtins(flags)
    if ranks.first:
        _LOG.info(
            "%d steps of %d samples = %d x %d x %d (micro batch x accumulation x ranks), %s, %s, %.3g M parameters",
            *(task.total_steps, job.train.global_batch, job.train.micro_batch, accumulation, ranks.world.size),
            *(values["precision"], job.backend, values["parameters"] / 1e6),
        )
    start = _resume(held, _nothing_done(job, task, ranks), backend, ranks, report)
    if ranks.first:  # only now: a job that does not fit the run must not describe it
        write_hparams(held, values)
        write_provenance(held, job)
    answered = start.step == task.total_steps and read_evaluation(run_dir) is not None
    if ranks.first and not answered:
        held.check()
        held.there.evaluation.unlink(missing_ok=True)  # of another training
    report.resume(start.step, task.total_steps, evaluations=answered or start.step < task.total_steps)
    saver = Saver(held, job.checkpoint, ranks, start.step)
    return Training(job, task, backend, device, ranks, begun.watch, begun.keeper, report, saver, start)


def finish(training: Training) -> Mapping[str, float]:
    """Evaluate the model unless that is done, and export it; called by all ranks.

    Returns:
        The metrics, on rank 0; empty on others and where the job does not say what to evaluate on.

    Raises:
        CheckpointError: the model cannot be written.
    """
    ranks, task, report, held = training.ranks, training.task, training.report, training.keeper.held
    if training.job.optimizer.freeze_step == "auto" and training.backend.gauges().get("frozen") == 0.0:
        report.warn("optimizer.freeze_step auto: the variance was never frozen, so nothing was compressed")
    metrics: Mapping[str, float] = {}
    if evaluates(training.job):
        answered = ranks.from_first(lambda: read_evaluation(held.run_dir), dict[str, float] | None)
        if answered is None:
            report.phase("evaluating")
            with training.backend.common_weights():
                metrics = task.evaluate(training.backend.model)
            report.evaluated(task.total_steps, metrics)
        else:
            metrics = answered
    weights = training.backend.weights()

    def export() -> None:
        if weights is not None:  # rank 0's
            export_model(held.there.model, task.model, weights, task.save_tokenizer, held.check)

    try:
        write_together(ranks, export)
    except CheckpointError as error:
        raise CheckpointError(held.words(f"the trained model could not be written: {error}")) from None
    return metrics


def read_evaluation(run_dir: RunDir) -> dict[str, float] | None:
    """The metrics of eval.json, or None where there is none."""
    try:
        found = msgspec.json.decode(run_dir.evaluation.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        return None
    return {name: value for name, value in found.items() if isinstance(value, float)}


def _nothing_done(job: Job, task: Task, ranks: Ranks) -> Progress:
    return Progress(
        step=0,
        samples=0,
        seed=job.seed,
        global_batch=job.train.global_batch,
        total_steps=task.total_steps,
        world_size=ranks.world.size,
        versions=versions(),
    )


def _resume(held: HeldRun, nothing_done: Progress, backend: Backend, ranks: Ranks, report: Report) -> Progress:
    """Load the newest whole checkpoint; where there is none, nothing is done yet."""
    run_dir = held.run_dir
    if ranks.first:
        held.check()
        checkpoint.remove_leftovers(run_dir)
    step, damages = ranks.from_first(lambda: checkpoint.newest_whole(run_dir), tuple[int | None, list[str]])
    goes_on = "training starts from the beginning" if step is None else f"training goes on from {step}"
    if damages:
        report.warn(f"{'; '.join(damages)}; {goes_on}")
    if step is None:
        return nothing_done
    progress = checkpoint.load(run_dir.checkpoint(step), nothing_done, backend, ranks)
    if ranks.first:
        _LOG.info("training goes on from checkpoint %s%s", run_dir.checkpoint(step).name, _on_others(progress, ranks))
    return msgspec.structs.replace(nothing_done, step=progress.step, samples=progress.samples)


def _on_others(progress: Progress, ranks: Ranks) -> str:
    """What there is to say where not as many ranks go on as began."""
    here, there = ranks.world.size, progress.world_size
    if here == there:
        return ""
    now, before = counted(here, "rank"), counted(there, "rank")
    return f", on {now} what {before} began: the same samples and rates, sums round otherwise"


def run(start: Start) -> int:
    """Train from the newest checkpoint to the end, or until a signal; called by all ranks.

    Returns:
        The exit code: 0, or 85 after a signal.

    Raises:
        BertjobError: the job, its data, its model or a checkpoint is no good, or a file cannot be written.
    """
    ranks, watch, report = start.ranks, start.watch, start.report
    leave = functools.partial(watch.depart, DataError.exit_code)
    verify_shards(start.job, start.keeper.held.there, ranks.world, leave)
    with report.working():
        training = prepare(start, ranks.gather(start.here, str))
    report.phase("training")
    with watch.deferred():
        completed = train(training)
        if not completed:
            start.part()
            report.end("checkpointed", REQUEUE_EXIT_CODE)
            if ranks.first:
                _LOG.info("stopped by a signal; start again to go on")
            return REQUEUE_EXIT_CODE
    with report.working():
        metrics = finish(training)
    start.part()
    listed = (metric.name for metric in TASKS[start.job.task].metrics)
    report.end("done", 0, metrics={name: metrics[name] for name in listed if name in metrics})
    if ranks.first:
        _LOG.info("done: the model is in %s", start.run_dir.model)
    return 0


TRAINING = Work(is_finished, run)
"""What a rank does of every task that takes steps."""
