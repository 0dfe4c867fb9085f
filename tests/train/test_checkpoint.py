"""Checkpoints are complete or absent, and a disk that takes no more does not end the training."""

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import run_faults
from holding import hold
from run_ranks import finish, job_log, losses, make_run, run_to_end, start, state, wait_for

from bertjob.config.job import Checkpoint
from bertjob.errors import CheckpointError
from bertjob.formats.checksums import write_manifest
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import World
from bertjob.train.checkpoint import checkpoint
from bertjob.train.checkpoint.checkpoint import Progress, Saver
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.heartbeat import cut

NOTHING_DONE = Progress(step=0, samples=0, seed=7, global_batch=8, total_steps=12, world_size=1, versions={})
ALONE = Ranks(World(0, 1, 0, 1, "no launcher"), group=None)  # one rank sends nothing


def make_checkpoint(run_dir: RunDir, step: int) -> Path:
    """A folder with what a checkpoint's folder has, in small."""
    folder = run_dir.checkpoint(step)
    (folder / "backend").mkdir(parents=True)
    (folder / "backend" / "state.pt").write_bytes(os.urandom(1000))
    (folder / "progress.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(NOTHING_DONE, step=step)))
    write_manifest(folder)
    return folder


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def flip_a_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "backend/state.pt has 500 bytes instead of 1000": lambda folder: os.truncate(folder / "backend" / "state.pt", 500),
    "backend/state.pt is missing": lambda folder: (folder / "backend" / "state.pt").unlink(),
    "backend/state.pt is not what was written": lambda folder: flip_a_bit(folder / "backend" / "state.pt"),
    "MANIFEST.json is missing": lambda folder: (folder / "MANIFEST.json").unlink(),
    "MANIFEST.json is damaged": lambda folder: os.truncate(folder / "MANIFEST.json", 100),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named_and_the_checkpoint_before_is_the_newest_whole_one(run_dir, name):
    make_checkpoint(run_dir, 4)
    DAMAGES[name](make_checkpoint(run_dir, 8))
    step, damages = checkpoint.newest_whole(run_dir)
    assert step == 4
    assert len(damages) == 1
    assert damages[0].startswith(f"checkpoint step-000008 is not whole: {name}")


def test_newest_is_by_number_not_by_name(run_dir):
    for step in (999_999, 1_000_000, 8):
        make_checkpoint(run_dir, step)
    assert checkpoint.newest_whole(run_dir) == (1_000_000, [])


def test_without_checkpoints_there_is_no_newest(run_dir):
    assert checkpoint.newest_whole(run_dir) == (None, [])


def test_old_ones_go_and_so_do_damaged_ones_of_a_course_that_was_given_up(run_dir):
    for step in (2, 4, 6, 8):
        make_checkpoint(run_dir, step)
    checkpoint.remove_old(hold(run_dir), newest=6, rule=Checkpoint(keep=2))
    assert sorted(path.name for path in run_dir.checkpoints.iterdir()) == ["step-000004", "step-000006"]


@pytest.mark.parametrize(
    ("keep", "keep_every", "stay"),
    [
        (1, None, {10}),
        (3, None, {6, 8, 10}),
        (1, 4, {4, 8, 10}),
        (2, 4, {4, 8, 10}),
        (1, 5, {10}),  # step 5 has none: it was before the key was set
        (9, 100, {2, 4, 6, 8, 10}),
    ],
)
def test_the_newest_stay_and_each_so_many_steps_one_for_good(keep, keep_every, stay):
    rule = Checkpoint(keep=keep, keep_every=keep_every)
    assert checkpoint.kept([2, 4, 6, 8, 10, 12], newest=10, rule=rule) == stay


def test_one_that_stays_is_due_whatever_else_is(run_dir):
    saver = Saver(hold(run_dir), Checkpoint(every_steps=6, every_minutes=None, keep_every=4), ALONE, start=0)
    assert [step for step in range(1, 13) if saver.due(step)] == [4, 6, 8, 12]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("rank-00012.pt", 12),
        ("optimizer-00003.pt", 3),
        ("zero_pp_rank_7_mp_rank_00_optim_states.pt", 7),
        ("mp_rank_00_model_states.pt", 0),
        ("model.safetensors", 0),
        ("backend", 0),
    ],
)
def test_each_file_is_flushed_by_the_rank_that_wrote_it(name, rank):
    assert checkpoint.writer(name) == rank


def test_an_old_one_that_does_not_go_is_a_warning_and_the_new_one_counts(run_dir, monkeypatch):
    for step in (4, 8):
        make_checkpoint(run_dir, step)

    def busy(source, target):
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(source))

    monkeypatch.setattr(checkpoint, "save", lambda *_: None)
    monkeypatch.setattr(Path, "rename", busy)
    said = []
    saver = Saver(hold(run_dir), Checkpoint(keep=1), ALONE, start=4)
    saver.save(SimpleNamespace(progress=SimpleNamespace(step=8)), said.append)
    assert said == [f"an old checkpoint cannot be removed: {run_dir.checkpoint(4)}: Device or resource busy"]
    saver.require_progress()  # there is some


def test_what_was_left_of_an_old_one_is_in_nobodys_way(run_dir):
    (run_dir.checkpoints / ".step-000004.old.partial" / "model").mkdir(parents=True)
    for step in (4, 8):
        make_checkpoint(run_dir, step)
    checkpoint.remove_old(hold(run_dir), 8, Checkpoint(keep=1))
    assert not run_dir.checkpoint(4).exists()


def test_leftovers_of_killed_runs_go(run_dir):
    make_checkpoint(run_dir, 4)
    for leftover in (".step-000008.partial", ".step-000002.old.partial"):
        (run_dir.checkpoints / leftover / "model").mkdir(parents=True)
    (run_dir.checkpoints / ".latest.partial").write_text("step-0")
    checkpoint.remove_leftovers(run_dir)
    assert [path.name for path in run_dir.checkpoints.iterdir()] == ["step-000004"]


@pytest.mark.parametrize(("key", "value"), [("seed", 8), ("global_batch", 16), ("total_steps", 13)])
def test_a_checkpoint_of_another_training_is_refused(run_dir, key, value):
    folder = make_checkpoint(run_dir, 4)
    expected = msgspec.structs.replace(NOTHING_DONE, **{key: value})
    with pytest.raises(CheckpointError, match=f"{key} .*the job now says {value}"):
        checkpoint.load(folder, expected, backend=None, ranks=None)


@pytest.mark.parametrize("content", [b"a,b\n", b"", b"\x80\x02}.", b"\x80\x02K\x01."])
def test_states_of_generators_that_are_none_are_refused_in_one_line(run_dir, content):
    folder = make_checkpoint(run_dir, 4)
    (folder / "rank-00000.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"rank-00000.pt cannot be read: [^\n]+$"):
        checkpoint.load(folder, NOTHING_DONE, backend=SimpleNamespace(load=lambda folder: None), ranks=ALONE)


@pytest.mark.parametrize("evaluations", [True, False])
def test_metrics_after_the_resumed_step_and_half_lines_are_cut(tmp_path, evaluations):
    path = tmp_path / "metrics.jsonl"
    kept = ['{"step":1,"loss":2.0}\n', '{"step":2,"loss":1.0}\n']
    evaluation = '{"step":2,"f1":10.0}\n'
    path.write_text("".join([*kept, evaluation, '{"step":3,"loss":0.5}\n', '{"step":2,"lo']))
    cut(path, 2, evaluations=evaluations)
    assert path.read_text() == "".join([*kept, evaluation] if evaluations else kept)


@pytest.mark.parametrize("backend", ["torch", "deepspeed"])
def test_on_a_full_disk_training_goes_on_and_the_earlier_checkpoint_stays(tmp_path, small_disk, backend):
    run = make_run(tmp_path / "run", backend=backend)
    small_disk(run / "checkpoints", 900)  # one takes 500
    assert run_to_end(run, 2) == [0, 0], job_log(run)
    said = [line for line in job_log(run).splitlines() if line.startswith("warning: the checkpoint of step 8")]
    assert len(said) == 1, job_log(run)
    assert "the disk is full" in said[0] or "MB free" in said[0]
    assert "the one of step 4 stays" in said[0]
    assert state(run)["phase"] == "done"
    assert state(run)["warning"].startswith("the checkpoint of step 12 could not be written")
    assert len(losses(run)) == 12
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["latest", "step-000004"]
    assert checkpoint.newest_whole(RunDir(run)) == (4, [])


def test_a_signal_on_a_full_disk_fails_since_starting_again_would_be_in_vain(tmp_path, small_disk):
    run = make_run(tmp_path / "run", checkpoint__every_steps=100)
    small_disk(run / "checkpoints", 100)
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: len(losses(run)) >= 2)
    os.kill(ranks[0].pid, signal.SIGUSR1)
    assert finish(ranks) == [1, 1]
    assert state(run)["phase"] == "failed"
    assert state(run)["exit_code"] == 1
    assert "the disk is full" in state(run)["error"]
    assert "there is none before it. Make room and start again" in state(run)["error"]


def test_a_rank_that_cannot_write_its_part_fails_the_checkpoint_on_all(tmp_path):
    run = make_run(tmp_path / "run")
    assert run_to_end(run, 2, fault=run_faults.small_files_rank_1) == [0, 0], job_log(run)
    assert "warning: the checkpoint of step 4 could not be written: File too large" in job_log(run)
    assert not list((run / "checkpoints").iterdir())
    assert len(losses(run)) == 12
