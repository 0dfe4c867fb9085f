"""What several tests of the login side start from."""

import os
from pathlib import Path

import pytest
from fakes.commands import Commands


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """An empty folder with an index of its own, and a Slurm that takes a job as 4711 and knows none yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    commands = Commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
    commands.make("sbatch", "Submitted batch job 4711\n")
    for name in ("srun", "squeue", "sacct", "scancel"):
        commands.make(name)
    return commands
