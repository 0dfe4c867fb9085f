"""A disk that is full: every part of a run says so, and the state has it, wherever the run is at that moment."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import run_faults
from disks import fill
from run_ranks import finish, job_log, lines, losses, make_run, run_to_end, start, state, wait_for

from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import release_room, reserve_room
from bertjob.rundir.state import RunState, read_state, reserve_state, write_state

Disk = Callable[[Path, int], Path]
LONG = "x" * 5000


def test_a_state_that_cannot_be_replaced_is_written_into_its_reserve(tmp_path: Path, small_disk: Disk) -> None:
    path = small_disk(tmp_path / "run", 64) / "state.json"
    reserve_state(path)
    assert read_state(path) is None
    fill(path.parent)
    for error in ("short", LONG, "shorter"):
        with pytest.raises(OSError, match="No space"):
            write_state(path, RunState(phase="failed", time=1.0, error=error))
        found = read_state(path)
        assert found is not None
        assert found.error == error[:400]
    reserve_state(path)  # which is for those that have none
    assert read_state(path) is not None


def test_training_goes_on_and_says_what_it_cannot_write_until_it_can(tmp_path: Path, small_disk: Disk) -> None:
    run = make_run(small_disk(tmp_path / "run", 4000), checkpoint__every_steps=100)
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: len(losses(run)) >= 2)
    filler = fill(run)
    wait_for(lambda: "cannot be written: the disk is full" in state(run).get("warning", ""))
    assert state(run)["phase"] == "training"
    filler.unlink()
    wait_for(lambda: "cannot be written" not in state(run).get("warning", ""))
    assert finish(ranks) == [0, 0], job_log(run)
    assert state(run)["phase"] == "done"
    assert lines(run)[-2]["step"] == 12


def test_a_run_that_ends_for_want_of_room_says_so_in_its_state(tmp_path: Path, small_disk: Disk) -> None:
    run = make_run(small_disk(tmp_path / "run", 4000), checkpoint__every_steps=100)
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: len(losses(run)) >= 2)
    fill(run)
    assert finish(ranks) == [1, 1], job_log(run)
    assert (state(run)["phase"], state(run)["exit_code"]) == ("failed", 1)
    assert "the disk is full" in state(run)["error"]
    assert state(run)["error"] in job_log(run).splitlines()


def test_on_a_full_disk_the_log_gets_the_room_that_is_held_for_it(tmp_path: Path, small_disk: Disk) -> None:
    run_dir = RunDir(small_disk(tmp_path / "run", 256))
    reserve_room(run_dir)  # without logs/, which is for others to make
    assert not run_dir.logs.exists()
    run_dir.logs.mkdir()
    reserve_room(run_dir)
    fill(run_dir.path)
    log = run_dir.log("7")
    with pytest.raises(OSError, match="No space"):
        log.write_text("the disk is full")
    release_room(run_dir)
    log.write_text("the disk is full")
    release_room(run_dir)  # which several ranks do
    reserve_room(run_dir)  # as much as there is
    assert run_dir.reserve.stat().st_size > 0


def test_features_without_room_name_the_folder(tmp_path: Path, small_disk: Disk) -> None:
    cache = small_disk(tmp_path / "cache", 16)
    run = make_run(tmp_path / "run", data__cache=str(cache))
    assert run_to_end(run, 2) == [1, 1]
    assert state(run)["error"] == (
        f"{cache}: features cannot be cached: the disk is full; make room, or say another folder by data.cache"
    )


@pytest.mark.faults
@pytest.mark.fault(
    "disk full but for {kib} KiB, {backend}",
    survived="once there is room",
    lost="nothing",
    reported="what cannot be written, in state and log",
)
@pytest.mark.parametrize("kib", [0, 1, 4, 8, 12, 16, 24, 32, 64, 128, 256, 400, 500, 600, 700, 800, 1200])
@pytest.mark.parametrize("backend", ["torch", "deepspeed"])
def test_whatever_room_is_left_at_the_start_the_state_says_what_was_missing(
    tmp_path: Path, small_disk: Disk, backend: str, kib: int
) -> None:
    run = make_run(small_disk(tmp_path / "run", 3000), backend=backend)
    reserve_state(RunDir(run).state)
    RunDir(run).logs.mkdir()
    reserve_room(RunDir(run))
    former = lease.of_this_process("local")
    assert lease.replace(RunDir(run), None, former)
    lease.end(RunDir(run), former)
    filler = fill(run)
    os.truncate(filler, filler.stat().st_size - 1024 * kib)
    codes = run_to_end(run, 2)
    assert codes in ([0, 0], [1, 1]), job_log(run)
    told = {"error": "", "warning": "", **state(run)}
    assert told["phase"] == ("failed" if any(codes) else "done")
    assert "Traceback" not in job_log(run)
    assert "full" in job_log(run) or not any(codes)
    assert (
        "full" in told.get("error", "") + told.get("warning", "") or "MB free" in told.get("warning", "") or kib > 700
    )
    filler.unlink()
    assert run_to_end(run, 2) == [0, 0], job_log(run)
    assert state(run)["phase"] == "done"
    assert [step for step, _, _ in losses(run)] == [*range(1, 13)] or not any(codes)
