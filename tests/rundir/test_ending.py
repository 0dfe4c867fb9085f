"""What the script of a job leaves of its end: run by bash, ended in every way."""

import os
import resource
import signal
import subprocess
from pathlib import Path

import pytest
from planned import HOSTILE, SLURM, made, with_

from bertjob.launch.argv import quote
from bertjob.rundir import ending
from bertjob.rundir.directory import RunDir
from bertjob.rundir.ending import Ending, left_by_script


def ended(folder: Path, *lines: str, **env: str) -> Ending | None:
    """How a script ended that has these lines, by what it left in the run directory of job 7."""
    run = RunDir(folder / HOSTILE[0])
    run.logs.mkdir(parents=True, exist_ok=True)
    left = left_by_script(quote(str(run.path)), '"$SLURM_JOB_ID"', private=False)
    text = "\n".join([*left, "trap 'ended \"$?\"' EXIT", "set -euo pipefail", *lines])
    # Under nohup, HUP would be ignored.
    subprocess.run(
        ["env", "--default-signal=HUP", "bash", "-c", text], env={**os.environ, "SLURM_JOB_ID": "7", **env}, check=False
    )
    return ending.read(run, "7")


@pytest.mark.parametrize(
    ("lines", "code", "command"),
    [
        (["true", "exit 3"], 3, "exit 3"),
        (["module load 'no such'"], 127, "module load 'no such'"),
        (["true 1", "(exit 4)"], 4, "true 1"),  # of what runs in a subshell, bash names the command before
        (["f() { (exit 5); }", "f"], 5, "f"),
        ([". /dev/stdin <<< 'exit 6'"], 6, ". /dev/stdin <<< 'exit 6'"),
        (["echo $NOWHERE"], 1, "echo $NOWHERE"),
        ([": ${NOWHERE:?is not set}"], 1, ": ${NOWHERE:?is not set}"),
        (["true 1", "if then fi"], 2, "true 1"),
        (["ls /nowhere |", "cat"], 2, "cat"),
        (["printf 'a\nb'; exit 7"], 7, "exit 7"),
    ],
)
def test_whatever_ends_a_script_leaves_its_code_and_the_command(
    tmp_path: Path, lines: list[str], code: int, command: str
) -> None:
    found = ended(tmp_path, *lines)
    assert found is not None
    assert (found.code, found.command) == (code, command)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert found.limits["open files"] == soft


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGXCPU, signal.SIGHUP])
def test_a_signal_that_ends_the_script_is_no_success(tmp_path: Path, number: signal.Signals) -> None:
    found = ended(tmp_path, f"kill -{number.name} $$", "sleep 10")
    assert found is not None
    assert found.command == f"kill -{number.name} $$"


def test_a_script_that_is_killed_leaves_nothing_of_an_earlier_start(tmp_path: Path) -> None:
    assert ended(tmp_path, "exit 3") is not None
    assert ended(tmp_path, "kill -KILL $$") is None


def test_limits_are_those_of_the_script(tmp_path: Path) -> None:
    found = ended(tmp_path, "ulimit -S -t 77", "ulimit -S -v 9000000", "exit 1")
    assert found is not None
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    assert found.limits["cpu time"] == (77, None if hard == resource.RLIM_INFINITY else hard)
    assert found.limits["address space"][0] == 9000000 * 1024
    assert "realtime timeout" not in found.limits


@pytest.mark.parametrize("text", ["", "exit code x: y\n", "\0\xff", "exit code 3"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    run = RunDir(tmp_path)
    run.logs.mkdir()
    run.ending("7").write_text(text)
    assert ending.read(run, "7") is None


def test_values_of_variables_are_their_owners_alone(tmp_path: Path) -> None:
    for env, mode in (({}, 0o644), ({"A": "b"}, 0o600)):
        site = with_(SLURM, env=env, setup=("umask 022", "exit 9"))
        subprocess.run(["bash", "-c", made(site, str(tmp_path))], env={"SLURM_JOB_ID": "7"}, check=False)
        (tmp_path / "logs").mkdir(exist_ok=True)
        subprocess.run(["bash", "-c", made(site, str(tmp_path))], env={"SLURM_JOB_ID": "7"}, check=False)
        assert (tmp_path / "logs/7.exit").stat().st_mode & 0o777 == mode
        (tmp_path / "logs/7.exit").unlink()


def test_by_hand_a_job_that_ends_before_it_has_a_run_directory_leaves_one_that_status_knows(tmp_path: Path) -> None:
    text = made(with_(SLURM, setup=("echo too early >&2", "exit 9")), None)
    job = {"SLURM_JOB_ID": "7", "SLURM_SUBMIT_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    with (tmp_path / "j-7.out").open("w") as log:
        assert subprocess.run(["bash", "-c", text], env=job, stdout=log, stderr=log, check=False).returncode == 9
    run = RunDir(tmp_path / "runs/j-7")
    assert ending.read(run, "7") is not None
    assert "too early" in run.log("7").read_text()
    assert '"job_id":"7"' in run.submissions.read_text()
