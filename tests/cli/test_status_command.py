"""The verb status: what is said beside the table, and how --watch asks."""

import itertools
import subprocess
import sys
from pathlib import Path

import click
import pytest
from fakes.commands import Commands
from rich.console import Console

from bertjob.cli.verbs import status as command
from bertjob.cluster.runs import catalog
from bertjob.cluster.runs.catalog import Run
from bertjob.rundir.directory import RunDir

AWAY = (
    "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
    + "tried host number %d\n" * 20 % (*range(20),)
)


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """A Slurm that knows no job, an empty folder and an index of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    found = Commands(tmp_path / "bin")
    for name in ("squeue", "sacct"):
        found.make(name)
    monkeypatch.setenv("PATH", f"{found.folder}:/usr/bin:/bin")
    return found


def submitted(folder: Path, name: str, job_id: str) -> Run:
    run_dir = RunDir(folder / "runs" / name)
    run_dir.path.mkdir(parents=True)
    return catalog.record(run_dir, job_id=job_id, site="generic", scheduler="slurm")


class Clock:
    """Time that passes in sleeps alone, and events at some of its seconds; then somebody presses Ctrl-C."""

    def __init__(self, seconds: int, events: dict) -> None:
        self._ticks = itertools.count(1)
        self._now, self._seconds, self._events = 0.0, seconds, events

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._events.get(next(self._ticks), lambda: None)()
        if self._now >= self._seconds:
            raise KeyboardInterrupt


def test_watch_asks_every_ten_seconds_and_then_sees_new_runs(fakes, tmp_path, monkeypatch, capsys):
    submitted(tmp_path, "squad-1", "11")
    clock = Clock(35, {3: lambda: submitted(tmp_path, "squad-2", "12")})
    monkeypatch.setattr(command, "time", clock)
    monkeypatch.setattr("bertjob.cli.output.out", lambda: Console(width=200))
    with pytest.raises(click.Abort):
        command.verb.main(["--watch"], standalone_mode=False)
    asked = [next(word for word in call if word.startswith("--jobs=")) for call in fakes.calls("squeue")]
    assert asked == ["--jobs=11", "--jobs=11,12", "--jobs=11,12", "--jobs=11,12"]
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["run", "squad-1", "squad-2"]


def test_a_note_is_one_line_in_a_pipe(fakes, tmp_path):
    submitted(tmp_path, "squad-1", "11")
    fakes.make("squeue", stderr=AWAY, code=1)
    bertjob = Path(sys.executable).with_name("bertjob")
    done = subprocess.run([bertjob, "status"], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
