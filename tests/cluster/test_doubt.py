"""Submissions of which nobody learned what came of them: listed, and looked for again whenever somebody asks."""

import json
import shlex
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.commands import Commands
from msgspec.structs import replace

from bertjob.cli.main import cli
from bertjob.cluster.runs import catalog
from bertjob.cluster.slurm import hand_over
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.submissions import every

AWAY = "slurm_load_jobs error: Unable to contact slurm controller"
SQUEUE = """#!/bin/sh
[ ! -e {folder}/away ] || {{ echo '{away}' >&2; exit 1; }}
case "$*" in
  *'--format=%A|%V|%o'*) cat {folder}/queue 2> /dev/null ;;
  *'--format=%i|%T'*) [ ! -e {folder}/queue ] || echo '4711|PENDING||Priority' ;;
esac
exit 0
"""


def bertjob(*words: str, code: int = 0) -> Result:
    done = CliRunner().invoke(cli, words)
    assert getattr(done.exception, "exit_code", done.exit_code) == code, f"{done.output}{done.exception!r}"
    return done


def rows(code: int = 0) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(bertjob("status", "--json", code=code).stdout)
    return found


class Doubt:
    """A controller that takes a job and is away before it says so."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        commands.make("sbatch", stderr="sbatch: error: Socket timed out on send/recv operation\n", code=1)
        commands.make("sinfo")
        commands.make("scontrol")
        folder = shlex.quote(str(commands.folder))
        (commands.folder / "squeue").write_text(SQUEUE.format(folder=folder, away=AWAY))
        (commands.folder / "away").touch()

    def submit(self, run_dir: Path) -> RunDir:
        """Submit, and learn nothing."""
        words = ("submit", "squad-demo", "--run-dir", str(run_dir), "--set", "train.micro_batch=1")
        assert "if squeue shows the job later" in str(bertjob(*words, code=4).exception)
        found = lease.read(RunDir(run_dir))
        assert found is not None
        lease.replace(RunDir(run_dir), found, replace(found, pid=2**22 + 1, nonce="0" * 16))  # that process is gone
        return RunDir(run_dir)

    def answer(self, *, queued: RunDir | None = None) -> None:
        """The controller is there again, with the job or without."""
        (self.commands.folder / "away").unlink(missing_ok=True)
        if queued is not None:
            now = time.strftime("%FT%T", time.gmtime())
            (self.commands.folder / "queue").write_text(f"4711|{now}|{queued.script}\n")


@pytest.fixture
def doubt(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> Doubt:
    monkeypatch.setattr(hand_over, "_LOOK_EVERY_S", 0.01)
    return Doubt(commands)


@pytest.mark.parametrize("place", ["runs/one", "elsewhere/deep/one"])
def test_it_is_listed_at_once(doubt: Doubt, tmp_path: Path, place: str) -> None:
    run_dir = doubt.submit(tmp_path / place)
    (row,) = rows(code=4)
    assert (row["run_dir"], row["state"], row["job_id"]) == (str(run_dir.path), "unknown", "")
    assert row["reason"] == "the scheduler gave no clear answer: its job may be queued"
    assert "one" in bertjob("status", code=4).stdout


def test_its_job_is_written_down_as_soon_as_the_queue_shows_it(doubt: Doubt, tmp_path: Path) -> None:
    run_dir = doubt.submit(tmp_path / "run")
    doubt.answer(queued=run_dir)
    (row,) = rows()
    assert (row["state"], row["reason"], row["job_id"]) == ("pending", "Priority", "4711")
    assert [said.job_id for said in every(run_dir)] == ["4711"]
    holder = lease.read(run_dir)
    assert holder is not None
    assert holder.job_id == "4711"
    assert catalog.find("4711").run_dir == run_dir
    rows()
    assert len(every(run_dir)) == 1


def test_its_job_can_be_cancelled_before_anybody_has_listed_it(doubt: Doubt, tmp_path: Path) -> None:
    run_dir = doubt.submit(tmp_path / "run")
    doubt.answer(queued=run_dir)
    bertjob("cancel", "--now", "run")
    assert doubt.commands.calls("scancel") == [["4711"]]


@pytest.mark.parametrize("verb", ["wait", "cancel", "logs"])
@pytest.mark.parametrize("answers", [True, False])
def test_what_needs_the_job_says_that_nobody_knows_it(doubt: Doubt, tmp_path: Path, verb: str, answers: bool) -> None:
    doubt.submit(tmp_path / "run")
    if answers:
        doubt.answer()
    why = "the queue has no job of it" if answers else "squeue: Unable to contact slurm controller"
    error = str(bertjob(verb, "run", code=4).exception)
    assert error == f"{tmp_path}/run: whether its job was queued is not known: {why}"
    assert doubt.commands.calls("scancel") == []


def test_where_the_queue_has_no_job_it_came_to_nothing_and_can_be_cleaned_up(doubt: Doubt, tmp_path: Path) -> None:
    run_dir = doubt.submit(tmp_path / "run")
    assert bertjob("clean", "--yes").stdout == ""
    doubt.answer()
    assert bertjob("clean", "--yes").stdout == ""  # too soon to tell
    found = lease.read(run_dir)
    assert found is not None
    lease.replace(run_dir, found, replace(found, time=found.time - 300, nonce="1" * 16))
    (row,) = rows()
    assert row["state"] == "lost"
    assert row["reason"] == "the submission came to nothing: the queue has no job of it"
    assert "--run-dir" in row["resume"]
    assert bertjob("clean", "--yes").stdout == f"{run_dir.path}\n"
    assert not run_dir.path.exists()


def test_it_stands_before_an_earlier_job_of_the_same_run(doubt: Doubt, tmp_path: Path) -> None:
    commands = doubt.commands
    doubt.answer()
    commands.make("sbatch", "4710\n")
    bertjob("submit", "squad-demo", "--run-dir", "run", "--set", "train.micro_batch=1")
    assert [row["job_id"] for row in rows()] == ["4710"]
    commands.make("sbatch", stderr="sbatch: error: Socket timed out on send/recv operation\n", code=1)
    (commands.folder / "squeue").write_text("#!/bin/sh\ncase $* in *%V\\|%o) echo away >&2; exit 1; esac\n")
    run_dir = doubt.submit(tmp_path / "run")
    assert [row["job_id"] for row in rows(code=4)] == [""]
    Doubt(commands).answer(queued=run_dir)
    assert [row["job_id"] for row in rows()] == ["4711"]
    assert [said.job_id for said in every(run_dir)] == ["4710", "4711"]
