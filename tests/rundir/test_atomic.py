import errno
import json
import os
import resource
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bertjob.rundir import atomic


def names(folder: Path) -> list[str]:
    """Names of all files and folders in `folder`."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that others may write to."""
    path = tmp_path / "state.json"
    path.write_text("old")
    path.chmod(0o664)
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may become longer than 100 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_and_keeps_its_mode(file: Path) -> None:
    inode = file.stat().st_ino
    atomic.write_bytes(file, b"new")
    assert file.read_text() == "new"
    assert file.stat().st_ino != inode
    assert stat.S_IMODE(file.stat().st_mode) == 0o664


def test_a_new_file_has_the_mode_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    atomic.write_bytes(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file: Path, full_disk: None) -> None:
    with pytest.raises(OSError, match="File too large"):
        atomic.write_bytes(file, bytes(101))
    assert file.read_text() == "old"
    assert names(file.parent) == ["state.json"]


def test_a_body_that_fails_leaves_the_old_file_and_nothing_else(file: Path) -> None:
    def stopped() -> None:
        with atomic.replacing(file) as aside:
            aside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert file.read_text() == "old"
    assert names(file.parent) == ["state.json"]


def test_writers_of_one_file_are_not_in_each_others_way(file: Path) -> None:
    def write(number: int) -> None:
        for _ in range(50):
            atomic.write_bytes(file, b"%d" % number * 1000)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    seen = {file.read_bytes() for _ in range(200)}
    for writer in writers:
        writer.join()
    assert seen <= {b"old", *(b"%d" % number * 1000 for number in range(4))}
    assert names(file.parent) == ["state.json"]


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for content in ("first", "second"):
        with atomic.replacing(folder, durable=True) as aside:
            aside.mkdir()
            (aside / content).touch()
            assert content not in (names(folder) if folder.exists() else ())
        assert names(folder) == [content]
    assert names(tmp_path) == ["model"]


def test_a_folder_that_cannot_be_put_there_leaves_the_former_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def no_new_one(source: Path, target: Path) -> Path:
        if (source / "new").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", no_new_one)

    def replace() -> None:
        with atomic.replacing(folder) as aside:
            aside.mkdir()
            (aside / "new").touch()

    with pytest.raises(OSError, match="Input/output error"):
        replace()
    assert names(folder) == ["old"]
    assert names(tmp_path) == ["model"]


def test_what_is_durable_is_flushed_before_it_has_its_name_and_the_name_after(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[str, str]] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        flushed.append((Path(f"/proc/self/fd/{handle}").readlink().name.partition(".json")[0], file.read_text()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    atomic.write_bytes(file, b"quick")
    assert flushed == []
    atomic.write_bytes(file, b"durable", durable=True)
    assert flushed == [(".state", "quick"), (file.parent.name, "durable")]


def test_leftovers_of_killed_processes_are_removed(file: Path) -> None:
    for name in (".state.json.0123abcd.partial", ".model.0123abcd.partial"):
        (file.parent / name).mkdir()
        (file.parent / name / "half").touch()
    atomic.remove_leftovers(file.parent, "model")
    assert names(file.parent) == [".state.json.0123abcd.partial", "state.json"]
    atomic.remove_leftovers(file.parent)
    assert names(file.parent) == ["state.json"]


class Point(msgspec.Struct):
    x: float


def test_json_holds_structs_paths_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    value = {"points": [Point(0.5)], "folder": Path("/a"), "name": os.fsdecode(b"\xff\xe4"), "ü": None}
    atomic.write_json(tmp_path / "value.json", value)
    content = (tmp_path / "value.json").read_bytes()
    expected = {"points": [{"x": 0.5}], "folder": "/a", "name": "\udcff\udce4", "ü": None}
    assert json.loads(content) == expected
    assert "ü".encode() in content
    assert content.endswith(b"\n}\n")
