"""A run directory that is open is neither lost nor made a second time."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bertjob.errors import LeaseError
from bertjob.rundir import held_run, lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun


@pytest.fixture
def held(tmp_path: Path) -> HeldRun:
    """A run directory whose lease this process holds."""
    folder = tmp_path / "a run"
    folder.mkdir()
    run = HeldRun(RunDir(folder))
    assert run.take(lease.of_this_process("17"), None)
    return run


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LeaseError, match="gone: the run directory cannot be opened: No such file or directory"):
        HeldRun(RunDir(tmp_path / "gone"))


def test_while_the_lease_is_held_files_are_written_where_people_look(held: HeldRun) -> None:
    held.write_json(held.there.hparams, {"a": 1})
    assert held.run_dir.hparams.read_text() == '{\n "a": 1\n}\n'
    assert held.displaced() == ""


def test_who_never_took_the_lease_writes_nothing(held: HeldRun) -> None:
    other = HeldRun(held.run_dir)
    with pytest.raises(LeaseError, match="does not hold the lease"):
        other.write_json(other.there.hparams, {})
    assert not held.run_dir.hparams.exists()


def test_who_was_replaced_writes_nothing_and_says_by_whom(held: HeldRun) -> None:
    assert lease.replace(held.run_dir, lease.read(held.run_dir), lease.of_this_process("18"))
    with pytest.raises(LeaseError, match=r"job 18 \(on .*\) has taken over, so this start writes nothing more"):
        held.write_json(held.there.hparams, {})
    assert sorted(path.name for path in held.run_dir.path.iterdir()) == ["lease.json"]
    assert held.lost
    held.give_up()  # what is not ours any more
    assert not lease.read(held.run_dir).ended  # type: ignore[union-attr]


def test_a_beat_is_seen_until_the_lease_is_replaced(held: HeldRun) -> None:
    def touched() -> int:
        return held.run_dir.lease.stat().st_mtime_ns

    before = touched()
    held.beat()
    assert touched() > before
    assert lease.replace(held.run_dir, lease.read(held.run_dir), lease.of_this_process("18"))
    before = touched()
    held.beat()
    assert touched() == before


def move(held: HeldRun) -> str:
    folder = held.run_dir.path
    folder.rename(folder.with_name("moved"))
    return f"was moved to {folder.with_name('moved')}"


def move_the_folder_above(held: HeldRun) -> str:
    above = held.run_dir.path.parent
    above.rename(above.with_name("moved"))
    return f"was moved to {above.with_name('moved') / 'a run'}"


def move_and_make_another(held: HeldRun) -> str:
    said = move(held)
    held.run_dir.path.mkdir()
    return said


def remove(held: HeldRun) -> str:
    shutil.rmtree(held.run_dir.path)
    return "was removed"


def empty(held: HeldRun) -> str:
    for path in held.run_dir.path.iterdir():
        path.unlink()
    return "was emptied, its lease.json is gone"


@pytest.mark.parametrize("change", [move, move_the_folder_above, move_and_make_another, remove, empty])
def test_what_becomes_of_the_folder_is_named(held: HeldRun, change: Callable[[HeldRun], str]) -> None:
    said = change(held)
    assert held.displaced() == said


def test_in_a_moved_folder_files_are_written_at_its_new_place(held: HeldRun) -> None:
    move(held)
    held.write_json(held.there.hparams, {})
    now = held.run_dir.path.with_name("moved")
    assert (held.where(), (now / "hparams.json").exists()) == (now, True)
    assert not held.run_dir.path.exists()


def test_a_removed_folder_is_not_made_again(held: HeldRun) -> None:
    remove(held)
    with pytest.raises(FileNotFoundError):
        held.write_json(held.there.hparams, {})
    with pytest.raises(FileNotFoundError):
        held.there.tensorboard.mkdir(parents=True, exist_ok=True)  # as libraries do
    assert not held.run_dir.path.exists()
    assert held.where() is None


def test_messages_name_the_path_that_people_know(held: HeldRun) -> None:
    assert held.words(f"{held.there.latest}: no") == f"{held.run_dir.latest}: no"


MOUNTS = r"""22 1 0:21 / / rw - ext4 /dev/sda rw
30 22 0:26 /home/me/runs/a\040run /work rw,relatime - lustre mds rw
31 30 0:26 /home/me/cache /work/cache rw - lustre mds rw
"""


@pytest.mark.parametrize(
    ("path", "root"),
    [
        ("/work", "/home/me/runs/a run"),
        ("/work/logs", "/home/me/runs/a run"),
        ("/worker", "/"),
        ("/work/cache/a", "/home/me/cache"),
    ],
)
def test_a_folder_that_is_mounted_in_a_container_is_known_by_the_mounts(path: str, root: str) -> None:
    assert held_run._root_of_mount(Path(path), MOUNTS) == root


def test_a_folder_that_is_moved_behind_its_mount_is_named(held: HeldRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_run, "_mounts", lambda: "22 1 0:21 /elsewhere / rw - ext4 /dev/sda rw\n")
    assert held.displaced() == f"was moved with {held._mounted}, which is now /elsewhere"
    assert held.where() is None  # the path leads to it here, and nowhere else
