"""Clean removes what came to nothing, and nothing else."""

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.commands import Commands

from bertjob.cli.main import cli
from bertjob.cluster.runs import catalog, contents
from bertjob.cluster.runs.catalog import Run
from bertjob.errors import BertjobError
from bertjob.formats import checksums
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import Phase, RunState, write_state

STATES = {"1": "COMPLETED", "2": "FAILED", "3": "CANCELLED by 0", "4": "TIMEOUT", "5": "RUNNING", "6": "FAILED"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with an index of its own, and a Slurm that knows some jobs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    fakes = Commands(tmp_path / "bin")
    fakes.make("squeue", stdout="5|RUNNING|n1|None\n")
    fakes.make("sacct", stdout="".join(f"{job}|{state}|n1|0:0\n" for job, state in STATES.items()))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def job(name: str, job_id: str) -> RunDir:
    run_dir = RunDir(Path.cwd() / "runs" / name)
    run_dir.logs.mkdir(parents=True)
    run_dir.job.write_text(f"name: {name}\n")
    catalog.record(run_dir, job_id=job_id, site="generic", scheduler="slurm")
    return run_dir


def local(name: str, phase: Phase | None, host: str = "") -> Run:
    run_dir = RunDir(Path.cwd() / "runs" / name)
    run_dir.path.mkdir(parents=True)
    run = catalog.record(run_dir, job_id="local", site="local", scheduler="none", pid=1)
    if host:  # as if it had been started there, long ago
        line = {"job_id": "local", "site": "local", "scheduler": "none", "time": 1.0, "host": host}
        run_dir.submissions.write_text(json.dumps(line) + "\n")
        catalog.rebuild([])
    if phase is not None:
        write_state(run_dir.state, RunState(phase=phase, time=run.submission.time + 1))
    return run


def clean(*words: str, typed: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["clean", *words], input=typed)


def left() -> set[str]:
    return {path.name for path in Path("runs").iterdir()} if Path("runs").exists() else set()


def test_without_a_name_what_left_nothing_to_go_on_from_is_removed(folder: Path) -> None:
    job("done", "1")
    job("failed", "2")
    job("cancelled", "3")
    job("timed-out", "4").checkpoint(10).mkdir(parents=True)
    job("running", "5")
    job("with-model", "6").model.mkdir()
    job("unknown", "7")
    local("local-failed", "failed")
    local("local-lost", None)
    local("local-done", "done")
    local("elsewhere", None, host="other")
    looked = clean("--dry-run", "--json")
    assert {row["name"] for row in json.loads(looked.stdout)} == {"failed", "cancelled", "local-failed", "local-lost"}
    assert len(left()) == 11
    done = clean("--yes")
    assert done.exit_code == 0, done.output
    assert {Path(line).name for line in done.stdout.splitlines()} == {
        "failed",
        "cancelled",
        "local-failed",
        "local-lost",
    }
    assert left() == {"done", "timed-out", "running", "with-model", "unknown", "local-done", "elsewhere"}
    assert {run.name for run in catalog.known()} == left()
    assert clean("--yes").stderr == "removed: 0 runs, 0.0 MB\n"


def test_what_is_named_goes_whatever_it_holds(folder: Path) -> None:
    job("done", "1").model.mkdir()
    assert clean("done", "1", "--yes").stdout == f"{folder}/runs/done\n"
    assert left() == set()


@pytest.mark.parametrize(("job_id", "why"), [("5", "is running: cancel it first"), ("7", "may be at work: nobody can")])
def test_what_may_be_at_work_stays_even_if_it_is_named(folder: Path, job_id: str, why: str) -> None:
    job("failed", "2")
    job("busy", job_id)
    refused = clean("failed", "busy", "--yes").exception
    assert isinstance(refused, BertjobError)
    assert str(refused).startswith(f"busy {why}")
    assert left() == {"failed", "busy"}


def test_a_lost_run_of_another_machine_is_for_that_machine_to_remove(folder: Path) -> None:
    local("elsewhere", None, host="other")
    assert "was started on other" in str(clean("elsewhere", "--yes").exception)
    assert left() == {"elsewhere"}
    assert socket.gethostname() != "other"


def test_a_folder_with_files_of_the_users_own_stays(folder: Path) -> None:
    (job("failed", "2").path / "thesis.tex").write_text("years of work")
    assert clean("--yes").stdout == ""
    refused = str(clean("failed", "--yes").exception)
    assert refused.startswith("failed holds thesis.tex, which bertjob has not put there")
    assert left() == {"failed"}


def checkpoint(run_dir: RunDir, step: int = 400) -> Path:
    """A checkpoint, as a training leaves it."""
    folder = run_dir.checkpoint(step)
    (folder / "backend").mkdir(parents=True)
    for name in ("progress.json", "rank-00000.pt", "backend/state.pt"):
        (folder / name).write_text(name)
    checksums.write_manifest(folder)
    run_dir.latest.write_text(folder.name)
    return folder


FOREIGN = [
    *(".notes", ".git/config", "notes.txt", "logs/notes.txt", "logs/12.txt", "tb/plot.png", "model/README.md"),
    *("checkpoints/best/progress.json", "checkpoints/step-000400-good/x", "checkpoints/step-000400/why.md", "sub/"),
    *("checkpoints/step-000400/backend/mine.pt", ".thesis.partial", "checkpoints/.best.partial/x", "job.yaml~"),
    *("checkpoints/step-000500/x", "model/sub/", "predictions.json.old", "core.17"),
]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_bertjob_has_not_written_keeps_the_folder(folder: Path, name: str) -> None:
    run_dir = job("failed", "2")
    checkpoint(run_dir)
    path = run_dir.path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        path.mkdir()
    else:
        path.write_text("mine")
    before = sorted(run_dir.path.rglob("*"))
    refused = clean("failed", "--yes").exception
    assert isinstance(refused, BertjobError)
    assert "failed holds " in str(refused)
    assert name.strip("/").split("/")[-1] in str(refused) or name.split("/")[0] in str(refused)
    assert sorted(run_dir.path.rglob("*")) == before


def test_all_that_bertjob_writes_is_its_own(folder: Path) -> None:
    run_dir = job("failed", "2")
    checkpoint(run_dir)
    for name in (
        *contents.top(),
        *("logs/2.out", "logs/2.0.out", "logs/local.out", "logs/2.3.nccl", "logs/2.departure", "logs/2.cancel"),
        *("logs/2.1.departure", "logs/.secret-aB3dEf9h", "logs/.secret-2", "logs/nid00001.alps.shards"),
        *("logs/start.nodes", "logs/start.0.out", "tb/events.out.tfevents.1.host.2.0", "model/model.safetensors"),
        *("model/config.json", "model/tokenizer.json", ".state.json.0123abcd.partial", ".model.89abcdef.partial/x"),
        *("checkpoints/.step-000500.partial/backend/x", "checkpoints/.latest.0123abcd.partial"),
    ):
        (run_dir.path / name).parent.mkdir(parents=True, exist_ok=True)
        if not (run_dir.path / name).exists():
            (run_dir.path / name).write_text("x")
    assert clean("failed", "--yes").exit_code == 0
    assert left() == set()


def test_what_comes_while_it_removes_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = job("failed", "2")
    forget = contents.parted

    def seen(path: Path) -> tuple[list[Path], list[str]]:
        found = forget(path)
        (path / "notes.txt").write_text("mine")
        return found

    monkeypatch.setattr(contents, "parted", seen)
    assert "cannot be removed" in str(clean("failed", "--yes").exception)
    assert (run_dir.path / "notes.txt").read_text() == "mine"


def test_nothing_goes_unasked(folder: Path) -> None:
    job("failed", "2")
    refused = clean()
    assert (refused.exit_code, left()) == (2, {"failed"})
    assert "1 run, 0.0 MB would go: say --yes" in refused.output


@pytest.mark.parametrize(("answer", "code", "stays"), [("n\n", 1, {"failed"}), ("y\n", 0, set())])
def test_on_a_terminal_it_asks(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, stays: set[str]
) -> None:
    job("failed", "2")
    monkeypatch.setattr("bertjob.cli.verbs.clean._can_answer", lambda: True)
    done = clean(typed=answer)
    assert (done.exit_code, left()) == (code, stays)
    assert "failed  failed  0.0 MB\nremove 1 run, 0.0 MB? [y/N]" in done.stderr


def test_a_folder_that_cannot_be_removed_is_named(folder: Path) -> None:
    run_dir = job("failed", "2")
    real = run_dir.path.rename(folder / "elsewhere")
    run_dir.path.symlink_to(real)
    assert str(clean("--yes").exception).startswith(f"{run_dir.path}: cannot be removed: ")
    assert real.is_dir()
