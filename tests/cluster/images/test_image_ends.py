"""Commands of engines that somebody ends."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.commands import Commands


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_ends_bertjob_ends_the_engine(fakes: Commands, tmp_path: Path, number: signal.Signals) -> None:
    """As a supervisor does, who signals bertjob alone, and not as a terminal, which signals both."""
    engine, pid = fakes.folder / "podman", tmp_path / "pid"
    engine.write_text(f'#!/bin/sh\necho $$ > "{pid}-"; mv "{pid}-" "{pid}"; exec sleep 60\n')
    engine.chmod(0o755)
    command = [sys.executable, "-c", "from bertjob.cli.main import main; main()", "image", "pull", "b:1"]
    with subprocess.Popen([*command, "--engine", "podman"], stderr=subprocess.PIPE, text=True) as bertjob:
        while not pid.exists():
            assert bertjob.poll() is None
            time.sleep(0.02)
        bertjob.send_signal(number)
        assert bertjob.communicate()[1].strip() == "bertjob: interrupted"
    assert bertjob.returncode == 130
    assert not Path("/proc", pid.read_text().strip()).exists()
