"""Scripts without a scheduler, which start the ranks themselves."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from planned import LOCAL, made, with_
from script_runs import PRELUDE, WAITING, until

from bertjob.config.job import Resources
from bertjob.errors import REQUEUE_EXIT_CODE


def start_here(folder: Path, body: str, ranks: int = 2) -> subprocess.Popen[str]:
    """Start the script of a job without a scheduler."""
    program = folder / "program"
    program.write_text(f"#!{sys.executable}\n{PRELUDE}rank = int(os.environ['RANK'])\n{textwrap.dedent(body)}")
    program.chmod(0o755)
    resources = Resources(tasks_per_node=ranks)
    (folder / "script").write_text(made(with_(LOCAL, python=str(program)), str(folder / "run"), resources=resources))
    with (folder / "log").open("w") as log:
        return subprocess.Popen(["bash", str(folder / "script")], stdout=log, stderr=log, text=True)


def test_a_rank_that_fails_ends_the_others(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, stop); time.sleep(20 * rank); sys.exit(7)"
    assert start_here(tmp_path, body, 4).wait(60) == 7
    assert "bertjob: rank 0 ended with exit code 7, so the others are ended\n" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_rank_that_does_not_end_when_another_has_failed_is_killed(tmp_path: Path) -> None:
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(rank * 60); sys.exit(7)"
    assert start_here(tmp_path, body).wait(60) == 7


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all_ranks_as_usr1(tmp_path: Path, number: signal.Signals) -> None:
    process = start_here(tmp_path, WAITING.replace('"up"', 'f"up{rank}"'))
    until(lambda: all((tmp_path / f"run/up{rank}").exists() for rank in range(2)))
    process.send_signal(number)
    assert process.wait(60) == REQUEUE_EXIT_CODE
    assert (tmp_path / "log").read_text().splitlines() == ["got SIGUSR1", "got SIGUSR1"]
