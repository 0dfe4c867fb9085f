"""Run directories and the index: one or nothing, found by what people call them, and never lost with the index."""

import contextlib
import errno
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from disks import fill

from bertjob.cli.main import cli
from bertjob.cluster.host.here import here, model_of_run
from bertjob.cluster.input_checks import check_inputs
from bertjob.cluster.runs import catalog, create, index
from bertjob.cluster.runs.catalog import Run
from bertjob.config import search
from bertjob.config.job import Job
from bertjob.errors import BertjobError, PreflightError, SchedulerError, SpecError, UncertainError
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir


@pytest.fixture(autouse=True)
def _own_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)


def started(tmp_path: Path, name: str, job_id: str = "17") -> Run:
    run_dir = RunDir(tmp_path / "runs" / name)
    run_dir.path.mkdir(parents=True)
    return catalog.record(run_dir, job_id=job_id, site="daint", scheduler="none" if job_id == "local" else "slurm")


def test_names_hold_the_job_and_the_time_and_differ(tmp_path: Path) -> None:
    first, second = (create.new_run_dir(tmp_path, "squad", now=0) for _ in range(2))
    assert first.name.startswith("squad-1970")
    assert first.path != second.path
    assert not first.path.exists()


def test_a_run_directory_is_made_with_its_files_and_logs(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "deep" / "run dir with 'quotes' and $(x)")
    with create.made(run_dir, {"job.yaml": "name: é\n", "git.diff": b"\xff"}):
        assert run_dir.logs.is_dir()
    assert run_dir.job.read_text(encoding="utf-8") == "name: é\n"
    assert run_dir.git_diff.read_bytes() == b"\xff"


@pytest.mark.parametrize("error", [UncertainError, RuntimeError, KeyboardInterrupt])
def test_all_is_left_when_a_job_may_have_begun(tmp_path: Path, error: type[BaseException]) -> None:
    run_dir = RunDir(tmp_path / "run")
    with pytest.raises(error), create.made(run_dir, {"job.yaml": "kept"}):
        raise error("who knows")
    assert run_dir.job.read_text() == "kept"


def test_nothing_is_left_when_the_scheduler_refuses(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(SchedulerError), create.made(RunDir(tmp_path / "there" / "new" / "run"), {"job.yaml": ""}):
        raise SchedulerError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_a_run_that_goes_on_keeps_its_files_when_the_scheduler_refuses(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    with create.made(run_dir, {"job.yaml": "old"}) as claim:
        run_dir.metrics.write_text("kept")
    lease.end(run_dir, claim)
    with pytest.raises(SchedulerError), create.made(run_dir, {"job.yaml": "new"}):
        raise SchedulerError("refused")
    assert (run_dir.job.read_text(), run_dir.metrics.read_text()) == ("old", "kept")
    assert lease.read(run_dir) == msgspec.structs.replace(claim, ended=True)
    with create.made(run_dir, {"job.yaml": "new"}):
        pass
    assert (run_dir.job.read_text(), run_dir.metrics.read_text()) == ("new", "kept")


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PreflightError, match="choose another --run-dir"), create.made(RunDir(tmp_path), {}):
        pass
    assert (tmp_path / "thesis.tex").exists()


def test_a_folder_with_checkpoints_and_a_lease_but_no_job_is_refused_and_left_alone(tmp_path: Path) -> None:
    assert lease.replace(RunDir(tmp_path), None, lease.of_waiting_job("7"))
    (tmp_path / "checkpoints").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(PreflightError, match="choose another --run-dir"), create.made(RunDir(tmp_path), {}):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with create.made(RunDir(tmp_path / "mine"), {"job.yaml": ""}):
        pass


def test_a_path_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreflightError, match=r"file: is there and no run directory"):
        create.made(RunDir(tmp_path / "file" / "run"), {}).__enter__()


def test_runs_are_found_by_path_name_id_and_beginning(tmp_path: Path) -> None:
    run = started(tmp_path, "squad-20261120-101500-3fa9", "4711")
    for text in (run.path, "runs/squad-20261120-101500-3fa9", run.name, "4711", "squad-2026"):
        assert catalog.find(text) == run


def test_a_beginning_that_several_have_names_the_newest(tmp_path: Path) -> None:
    for name in ("squad-1", "squad-2"):
        started(tmp_path, name)
    with pytest.raises(SpecError, match="squad: 2 runs begin like this, the newest are squad-2, squad-1"):
        catalog.find("squad")


def test_an_id_that_came_twice_is_the_newer_run(tmp_path: Path) -> None:
    started(tmp_path, "squad-1", "5")
    assert catalog.find("5") != started(tmp_path, "squad-2", "5")
    assert catalog.find("5").name == "squad-2"


def test_a_run_that_is_not_at_its_place_is_found_by_the_index(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, other = started(tmp_path, "squad-1", "17"), started(tmp_path, "squad-2", "18")
    Path(run.path).rename(tmp_path / "elsewhere")
    for text in ("17", "squad-1", run.path, "runs/squad-1"):
        assert catalog.find_newest(text) == run
    assert f"{run.path}: the job's run directory is not there: it was moved or removed" in caplog.text
    assert catalog.known() == [other]
    moved = (tmp_path / "elsewhere").rename(tmp_path / "runs" / "renamed")
    for text in ("17", "squad-1", run.path, "renamed"):
        assert catalog.find_newest(text).path == str(moved)
    assert f"{run.path}: the run directory was moved to {moved}" in caplog.text


def test_unknown_runs_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="none has been started yet"):
        catalog.find("squad")
    started(tmp_path, "squad-1")
    with pytest.raises(SpecError, match="did you mean 'squad-1'"):
        catalog.find("suqad-1")


def test_the_newest_submission_counts(tmp_path: Path) -> None:
    run = started(tmp_path, "squad-1", "5")
    again = catalog.record(run.run_dir, job_id="6", site="daint", scheduler="slurm")
    assert catalog.known() == [again]
    assert catalog.read(run.run_dir) == again
    assert len(run.run_dir.submissions.read_text().splitlines()) == 2


def test_a_run_that_was_deleted_is_no_longer_known(tmp_path: Path) -> None:
    run = started(tmp_path, "squad-1")
    run.run_dir.submissions.unlink()
    run.run_dir.path.rmdir()
    assert catalog.known() == []


def broken(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xa5" * 5000)


def other_tables(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (something TEXT)")


@pytest.mark.parametrize("damage", [broken, other_tables, Path.unlink])
def test_a_damaged_index_is_made_anew_from_the_run_directories(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: object
) -> None:
    run = started(tmp_path, "squad-1")
    path = tmp_path / "state" / "bertjob" / "index.sqlite"
    damage(path)  # type: ignore[operator]
    assert catalog.known() == [run]
    newer = started(tmp_path, "squad-2")
    assert catalog.known() == [run, newer]
    warned = [record for record in caplog.records if "made anew" in record.message]
    assert len(warned) == (0 if damage is Path.unlink else 1)
    assert len(list(path.parent.glob("index.sqlite.broken-*"))) == len(warned)


def test_the_index_of_a_newer_version_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = started(tmp_path, "squad-1")
    file = index.state_folder() / "index.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("ALTER TABLE runs ADD COLUMN owner TEXT NOT NULL DEFAULT 'me'")
    second = started(tmp_path, "squad-2")
    assert catalog.known() == [first, second]
    with contextlib.closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT owner FROM runs").fetchall() == [("me",), ("me",)]
    assert not caplog.text


@pytest.mark.parametrize("what", ["folder", "link to itself"])
def test_an_index_that_is_no_file_costs_no_run(tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str) -> None:
    first = started(tmp_path, "squad-1")
    file = index.state_folder() / "index.sqlite"
    file.unlink()
    if what == "folder":
        file.mkdir()
    else:
        file.symlink_to(file)
    second = started(tmp_path, "squad-2")
    assert catalog.known() == [first, second]
    assert ("the index of runs cannot be written" in caplog.text) == (what == "folder")


def test_a_stuck_lock_says_nothing_against_the_index(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_LOCK_TIMEOUT_S", 0.1)
    run = started(tmp_path, "squad-1")
    file = tmp_path / "state" / "bertjob" / "index.sqlite"
    before = file.read_bytes()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    newer = started(tmp_path, "squad-2")
    assert catalog.known() == [run, newer]
    assert all("locked" in record.message and "--rebuild" in record.message for record in caplog.records)
    assert (file.read_bytes(), list(file.parent.glob("*broken*"))) == (before, [])
    assert catalog.rebuild([]) == 2
    holder.close()
    caplog.clear()
    assert catalog.known() == [run, newer]
    assert not caplog.records


def test_a_full_disk_costs_no_run_that_the_index_had(
    tmp_path: Path, small_disk: Callable[[Path, int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk(tmp_path / "home", 256)
    monkeypatch.setenv("XDG_STATE_HOME", str(disk))
    runs = [started(tmp_path, f"squad-{number}") for number in range(3)]
    filler = fill(disk)
    runs.append(started(tmp_path, "squad-3"))
    monkeypatch.chdir("/")
    assert catalog.known() == runs
    with pytest.raises(BertjobError, match="cannot be made anew"):
        catalog.rebuild([])
    assert catalog.known() == runs
    filler.unlink()
    assert catalog.known() == runs
    assert catalog.rebuild([]) == len(runs)
    assert not list(disk.glob("bertjob/*broken*"))


def test_a_run_without_room_is_refused_and_nothing_is_left_of_it(
    tmp_path: Path, small_disk: Callable[[Path, int], Path]
) -> None:
    disk = small_disk(tmp_path / "scratch", 64)
    fill(disk)
    with (
        pytest.raises(PreflightError, match="the run directory cannot be made: the disk is full"),
        create.made(RunDir(disk / "runs" / "squad"), {"job.yaml": "name: x\n"}),
    ):
        pytest.fail("there is no room")
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_status_makes_the_index_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(tmp_path, "squad-1")
    (tmp_path / "state" / "bertjob" / "index.sqlite").unlink()
    (tmp_path / "state" / "bertjob" / "folders").unlink()
    monkeypatch.chdir("/")
    told = CliRunner().invoke(cli, ["status", "--rebuild", str(tmp_path / "runs"), "--json"])
    assert "made anew: 1 run" in told.output
    assert catalog.known() == [run]
    assert isinstance(CliRunner().invoke(cli, ["status", "--rebuild", "/nowhere"]).exception, SpecError)


def test_without_a_place_for_the_index_a_run_still_starts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    run = started(tmp_path, "squad-1")
    assert catalog.find(run.path) == run
    assert len(caplog.records) == 1


def test_a_run_that_only_its_script_has_written_down_is_found_from_where_it_was_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "squad-7"
    folder.mkdir(parents=True)
    (folder / "submissions.jsonl").write_text(
        '{"job_id":"7","site":"generic","scheduler":"slurm","time":1763600000,"host":"nid1"}\n'
    )
    assert [run.path for run in catalog.known()] == [str(folder)]
    assert catalog.find("7").path == catalog.find("squad-7").path == catalog.find("runs/squad-7").path == str(folder)
    monkeypatch.chdir("/")
    assert catalog.known() == []


def test_rebuild_takes_in_runs_of_other_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    run = started(tmp_path, "squad-1")
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "half").mkdir()
    (tmp_path / "runs" / "half" / "submissions.jsonl").write_text('{"job_')
    (tmp_path / "state" / "bertjob" / "index.sqlite").unlink()
    (tmp_path / "state" / "bertjob" / "folders").unlink()
    assert catalog.known() == []
    assert catalog.rebuild([tmp_path / "runs", tmp_path / "nowhere"]) == 1
    assert catalog.known() == [run]


def test_a_working_directory_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(PreflightError, match="the working directory is gone"):
        here()
    with pytest.raises(PreflightError, match="the working directory is gone"):
        create.new_run_dir(Path("runs"), "squad")


def test_names_that_no_file_can_have_are_unknown(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no such run"):
        catalog.run_folder("x" * 300)
    with pytest.raises(SpecError, match="File name too long"):
        search.find("job", f"./{'x' * 300}")


def test_what_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(SpecError, match="you may not read it"):
        catalog.run_folder("somebody/run")
    with pytest.raises(SpecError, match="you may not read it"):
        search.find("job", "somebody/job.yaml")
    with pytest.raises(PreflightError, match="you may not read it"):
        check_inputs({"data.train": "/somebody/train.json"}, Job(name="x"))


def test_the_model_of_a_run_that_is_not_there_is_named_with_the_key_and_the_steps_there_are(tmp_path: Path) -> None:
    run = started(tmp_path, "squad-1")
    for step in (400, 1000, 20):
        (run.run_dir.checkpoint(step) / "model").mkdir(parents=True)
    assert model_of_run("squad@20") == str(run.run_dir.checkpoint(20) / "model")
    for name, line in (
        ("", "model.init run:: the name of a run or of a job is wanted"),
        ("@10", "model.init run:@10: the name of a run or of a job is wanted"),
        ("nosuch", "model.init run:nosuch: nosuch: no such run"),
        ("squad@7", r"model.init run:squad@7: there is no .*; there is run:squad@20, run:squad@400, run:squad@1000$"),
        ("squad", r"model.init run:squad: there is no .*model; there is run:squad@20"),
    ):
        with pytest.raises(SpecError, match=f"^{line}"):
            model_of_run(name)
