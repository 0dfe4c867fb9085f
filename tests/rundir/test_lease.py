"""One start at a time holds the lease, whatever else begins, lives or dies."""

import multiprocessing
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import msgspec
import pytest

from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.lease import Holder


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def race(folder: Path, former: Holder | None) -> Holder | None:
    """Try to take the lease from `former`."""
    own = lease.of_this_process("local")
    return own if lease.replace(RunDir(folder), former, own) else None


def test_of_many_processes_one_takes_it_and_its_token_is_there(run_dir: RunDir) -> None:
    former = None
    with multiprocessing.get_context("fork").Pool(8) as pool:
        for _ in range(20):
            won = [own for own in pool.starmap(race, [(run_dir.path, former)] * 8) if own]
            assert won == [lease.read(run_dir)]
            former = won[0]
    assert [path.name for path in run_dir.path.iterdir()] == ["lease.json"]


def test_a_turn_of_a_killed_process_passes(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_TURN_S", 0.1)
    (run_dir.path / ".lease.turn").touch()
    assert lease.replace(run_dir, None, lease.of_this_process("17"))
    assert [path.name for path in run_dir.path.iterdir()] == ["lease.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"job_id": 17}', b"\0" * 5000])
def test_a_damaged_lease_is_nobodys(run_dir: RunDir, content: bytes) -> None:
    run_dir.lease.write_bytes(content)
    assert lease.read(run_dir) is None
    assert lease.replace(run_dir, None, lease.of_this_process("17"))


def test_a_lease_in_a_folder_that_is_gone_makes_no_folder(run_dir: RunDir) -> None:
    gone = RunDir(run_dir.path / "gone")
    with pytest.raises(FileNotFoundError):
        lease.replace(gone, None, lease.of_this_process("17"))
    assert not gone.path.exists()


def test_what_a_start_has_replaced_comes_back_unless_another_one_has_taken_over(run_dir: RunDir) -> None:
    first, second, third = (lease.of_this_process(name) for name in ("1", "2", "3"))
    assert lease.replace(run_dir, None, first)
    assert lease.replace(run_dir, first, second)
    lease.put_back(run_dir, second, first)
    assert lease.read(run_dir) == first
    assert lease.replace(run_dir, first, third)
    lease.put_back(run_dir, second, first)
    assert lease.read(run_dir) == third
    lease.put_back(run_dir, third, None)
    assert lease.read(run_dir) is None


def test_who_has_started_a_holder_ends_its_lease_and_nobody_else(run_dir: RunDir) -> None:
    caller = lease.of_this_process("local")
    rank = msgspec.structs.replace(lease.of_this_process("local"), given=caller.nonce)
    assert lease.replace(run_dir, None, rank)
    lease.end(run_dir, lease.of_this_process("local"))
    assert lease.read(run_dir) == rank
    lease.end(run_dir, caller)
    assert lease.read(run_dir) == msgspec.structs.replace(rank, ended=True)


def test_a_process_lives_until_it_has_ended() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        living = msgspec.structs.replace(lease.of_this_process("local"), pid=process.pid)
        alive = msgspec.structs.replace(living, born=lease._born(process.pid) or 0)
        assert lease.lives(alive)
        assert lease.lives(living) is False  # another process had its number
        assert lease.lives(msgspec.structs.replace(alive, machine="another")) is None
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert lease.lives(alive) is False  # though nobody has waited for it
    assert lease.lives(alive) is False
    assert lease.lives(lease.of_waiting_job("17")) is None


def test_who_touches_the_lease_is_not_silent(run_dir: RunDir) -> None:
    assert lease.replace(run_dir, None, lease.of_this_process("17"))
    assert lease.is_silent(run_dir.lease, seconds=0.3)
    over = threading.Event()

    def touch() -> None:
        while not over.wait(0.05):
            os.utime(run_dir.lease)

    thread = threading.Thread(target=touch)
    thread.start()
    try:
        assert not lease.is_silent(run_dir.lease, seconds=60)
    finally:
        over.set()
        thread.join()


def test_a_holder_is_named_for_people() -> None:
    now = time.mktime((2026, 11, 20, 10, 15, 0, 0, 0, -1))
    job = Holder(job_id="17", restart=2, nonce="a", host="nid00001", time=now, pid=4242)
    assert str(job) == "job 17 (start 2 on nid00001, process 4242, since 2026-11-20 10:15:00)"
    assert str(lease.of_this_process("local")).startswith("a local run (on ")
    assert str(lease.of_this_process("")).startswith("a submission (on ")
