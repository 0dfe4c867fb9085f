"""Two starts of one run never write at the same time, and a run directory that goes away is no puzzle."""

import os
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import run_faults
from holding import hold
from run_ranks import finish, job_log, losses, make_run, run_to_end, start, state, wait_for
from torch import nn

from bertjob.config.job import Checkpoint, Job
from bertjob.errors import LeaseError
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.world import World
from bertjob.train.backends import StepOutcome
from bertjob.train.checkpoint import checkpoint
from bertjob.train.checkpoint.export import export_model
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.heartbeat import cut
from bertjob.train.reporting.hparams import write_hparams, write_provenance
from bertjob.train.reporting.meter import Reading
from bertjob.train.reporting.report import Report
from bertjob.train.tasks.smoke import check_file

STEPS = 40
WAYS = [
    ("torch", 2),
    *(pytest.param(*way, marks=pytest.mark.faults) for way in (("torch", 1), ("deepspeed", 1), ("deepspeed", 2))),
]
ALONE = Ranks(World(0, 1, 0, 1, "no launcher"), group=None)  # one rank sends nothing
READING = Reading(loss=2.3, samples_per_second=200.0, tokens_per_second=31000.0, seconds_per_step=0.1)


def files(folder: Path) -> dict[str, bytes]:
    """What is in a run directory, but for logs and the touched lease."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in {".out", ".log"}
    }


def make(folder: Path, backend: str, **changes: Any) -> Path:
    return make_run(folder, backend=backend, train__max_steps=STEPS, **changes)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A run that nobody disturbed."""
    folder, runs = tmp_path_factory.mktemp("runs"), dict[tuple[str, int], Path]()

    def run(backend: str, size: int) -> Path:
        if (backend, size) not in runs:
            runs[backend, size] = made = make(folder / f"{backend}-{size}", backend)
            assert run_to_end(made, size) == [0] * size, job_log(made)
        return runs[backend, size]

    return run


def begun(run: Path, size: int, fault: Callable[[int], None] = run_faults.watched_steps, **env: str) -> list[Any]:
    """The ranks of a start that has done some steps, and has a checkpoint."""
    ranks = start(run, size, env=env, fault=fault)
    wait_for(lambda: len(losses(run)) >= 6)
    return ranks


@pytest.mark.fault(
    "start frozen, replaced and woken, {backend}, {size} ranks",
    survived="the newer one, bitwise",
    lost="nothing",
    reported="who has taken over, in its own log",
)
@pytest.mark.parametrize(("backend", "size"), WAYS)
def test_a_start_that_slurm_has_replaced_writes_nothing_more(undisturbed, tmp_path, backend, size):
    run = make(tmp_path / "run", backend)
    former = begun(run, size, BERTJOB_JOB_ID="17")
    for rank in former:  # a node that nobody reaches, and that comes back later
        os.kill(rank.pid, signal.SIGSTOP)
    assert run_to_end(run, size, env={"BERTJOB_JOB_ID": "17", "BERTJOB_RESTART": "1"}) == [0] * size, job_log(run)
    whole = files(run)
    for rank in former:
        os.kill(rank.pid, signal.SIGCONT)
    assert finish(former) == [1] * size
    assert files(run) == whole
    assert losses(run) == losses(undisturbed(backend, size))
    assert (run / "eval.json").read_bytes() == (undisturbed(backend, size) / "eval.json").read_bytes()
    assert "job 17 (start 1 on" in (run / "logs" / "17.0.out").read_text()
    assert "has taken over" not in job_log(run)  # which is the next start's log as well


@pytest.mark.fault(
    "start replaced while it trains",
    survived="the newer one, bitwise",
    lost="nothing",
    reported="who has taken over",
)
def test_a_start_that_is_replaced_while_it_trains_ends_and_its_successor_finishes(undisturbed, tmp_path):
    run = make(tmp_path / "run", "torch")
    former = begun(run, 2, BERTJOB_JOB_ID="17")
    assert run_to_end(run, 2, env={"BERTJOB_JOB_ID": "17", "BERTJOB_RESTART": "1"}) == [0, 0], job_log(run)
    assert finish(former) == [1, 1]
    assert losses(run) == losses(undisturbed("torch", 2))
    assert state(run)["phase"] == "done"


@pytest.mark.fault(
    "second local start in a run directory",
    survived="the first one, bitwise",
    lost="nothing",
    reported="refused with the process of the first",
)
def test_a_second_start_beside_one_at_work_is_refused_and_names_it(undisturbed, tmp_path):
    run = make(tmp_path / "run", "torch")
    former = begun(run, 2)
    assert run_to_end(run, 1) == [3]
    told = f"a local run (on {os.uname().nodename}, process {former[0].pid}, since "
    assert told in job_log(run)
    assert "is at work there; stop it or wait for it" in job_log(run)
    assert finish(former) == [0, 0], job_log(run)
    assert losses(run) == losses(undisturbed("torch", 2))


@pytest.mark.fault(
    "all ranks killed",
    survived="resumed, bitwise",
    lost="steps since the checkpoint",
    reported="nothing stands in the way of the next start",
)
def test_a_holder_that_was_killed_is_in_nobodys_way(undisturbed, tmp_path):
    run = make(tmp_path / "run", "torch")
    former = begun(run, 2)
    for rank in former:
        rank.kill()
    finish(former)
    assert run_to_end(run, 2) == [0, 0], job_log(run)
    assert losses(run) == losses(undisturbed("torch", 2))


@pytest.mark.fault(
    "run directory moved, {backend}, {size} ranks",
    survived="resumed at its new place, bitwise",
    lost="nothing",
    reported="failed: where it was moved to",
)
@pytest.mark.parametrize(("backend", "size"), WAYS)
def test_a_run_that_is_moved_ends_with_a_checkpoint_at_its_new_place(undisturbed, tmp_path, backend, size):
    run, moved = make(tmp_path / "run", backend, checkpoint__every_steps=100), tmp_path / "moved"
    ranks = begun(run, size)
    run.rename(moved)
    assert finish(ranks) == [1] * size
    assert not run.exists()
    step = state(moved)["step"]
    line = f"the run directory {run} was moved to {moved} while it was in use; step-{step:06d} is whole; to resume: "
    assert state(moved)["phase"] == "failed"
    assert line in state(moved)["error"]
    assert line in job_log(moved)
    assert f"--run-dir {moved}" in state(moved)["error"]
    assert 6 <= step < STEPS
    assert run_to_end(moved, size) == [0] * size, job_log(moved)
    assert f"goes on from checkpoint step-{step:06d}" in job_log(moved)
    assert losses(moved) == losses(undisturbed(backend, size))


@pytest.mark.fault(
    "run directory removed, {backend}, {size} ranks",
    survived="no",
    lost="the run, as its owner wanted",
    reported="failed: removed while it was in use",
)
@pytest.mark.parametrize(("backend", "size"), WAYS)
def test_a_run_that_is_removed_ends_says_what_is_lost_and_is_not_made_again(tmp_path, backend, size):
    run = make(tmp_path / "run", backend)
    ranks = begun(run, size)
    with (run / "job.log").open() as log:
        shutil.rmtree(run)
        assert finish(ranks) == [1] * size
        told = log.read()
    assert not run.exists()
    assert f"the run directory {run} was removed while it was in use; the checkpoint of step " in told
    assert "could not be written: No such file or directory" in told


@pytest.mark.fault(
    "run directory moved while it evaluates",
    survived="resumed at its new place",
    lost="nothing",
    reported="failed: where it was moved to",
)
def test_a_run_that_is_moved_while_it_evaluates_ends_and_keeps_its_checkpoint(tmp_path):
    run, moved = make_run(tmp_path / "run"), tmp_path / "moved"
    ranks = start(run, 2, fault=run_faults.watched_answers)
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == "evaluating")
    run.rename(moved)
    assert finish(ranks) == [1, 1]
    assert (run.exists(), state(moved)["phase"]) == (False, "failed")
    assert f"was moved to {moved} while it was in use" in state(moved)["error"]
    assert run_to_end(moved, 2) == [0, 0], job_log(moved)


def report_of(held: HeldRun) -> Report:
    report = Report(held, World(0, 1, 0, 1, "test"), "17")
    report.start()
    report.resume(0, 100, evaluations=False)
    return report


OUTCOME = StepOutcome(1.0, skipped=False, loss_scale=None)
WRITERS: Mapping[str, Callable[[HeldRun, Report], object]] = {
    "phase": lambda held, report: report.phase("training"),
    "step": lambda held, report: report.logged(1, READING, 1e-3, OUTCOME),
    "evaluation": lambda held, report: report.evaluated(1, {"f1": 80.0}),
    "warning": lambda held, report: report.warn("odd"),
    "metrics of later steps": lambda held, report: cut(held.there.metrics, 0, evaluations=False, check=held.check),
    "checkpoint": lambda held, report: checkpoint.save(held, SimpleNamespace(progress=SimpleNamespace(step=8)), ALONE),
    "old checkpoints": lambda held, report: checkpoint.remove_old(held, 8, Checkpoint(keep=1)),
    "model": lambda held, report: export_model(held.there.model, nn.Linear(1, 1), {}, print, held.check),
    "hparams": lambda held, report: write_hparams(held, {"a": 1}),
    "provenance": lambda held, report: write_provenance(held, Job(name="x")),
    "file of the proof": lambda held, report: check_file(ALONE, held),
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_writer_refuses_once_another_start_holds_the_lease(tmp_path: Path, name: str) -> None:
    held = hold(tmp_path)
    for step in (4, 8):
        held.there.checkpoint(step).mkdir(parents=True)
    report = report_of(held)
    report.logged(1, READING, 1e-3, OUTCOME)
    report.flush()  # TensorBoard writes on a thread of its own
    hold(tmp_path)
    before = files(tmp_path)
    folders = sorted(tmp_path.rglob("*"))
    with pytest.raises(LeaseError, match="has taken over"):
        WRITERS[name](held, report)
    report.end("failed", 1, "replaced")  # says nothing
    assert (files(tmp_path), sorted(tmp_path.rglob("*"))) == (before, folders)
    assert lease.read(RunDir(tmp_path)).ended is False


def test_a_start_without_a_log_says_so_in_its_state_and_not_in_that_of_another(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "logs").mkdir(exist_ok=True)
    (run / "logs" / "local.0.out").mkdir()
    assert run_to_end(run, 1) == [1]
    assert state(run)["phase"] == "failed"
    assert "local.0.out: the log cannot be written: Is a directory" in state(run)["error"]
    assert lease.read(RunDir(run)).ended
    hold(run)
    former = (run / "state.json").read_bytes()
    assert run_to_end(run, 1) == [1]
    assert (run / "state.json").read_bytes() == former
