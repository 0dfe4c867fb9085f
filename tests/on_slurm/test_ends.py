"""Jobs that end before their ranks can say why: each leaves a reason, also where Slurm forgets ended jobs at once.

One of each kind runs always; all combinations are `faults`.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from face import Face
from fakes.commands import Commands
from slurm.lab import Lab
from training import Tiny
from until import until

from bertjob.rundir.directory import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """A Slurm without accounting whose controller has forgotten the job: MinJobAge has passed."""
    commands = Commands(tmp_path / "forgetful")
    commands.make("squeue", stderr="slurm_load_jobs error: Invalid job id specified\n", code=1)
    commands.make("sacct", stderr="Slurm accounting storage is disabled\n", code=1)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{commands.folder}:{os.environ['PATH']}")
        yield commands


def reported(bertjob: Face, job_id: str) -> tuple[str, str]:
    (row,) = json.loads(bertjob("status", "--json", job_id).stdout)
    return row["state"], row["reason"]


def over(job_id: str) -> bool:
    shown = subprocess.run(["/usr/bin/scontrol", "show", "job", job_id], capture_output=True, text=True, check=True)
    return "JobState=FAILED" in shown.stdout


LINES = {
    "exit 3": "the job's script ended with exit code 3; the log ends with: loading",
    "module load nope": "module: command not found",
    "(exit 4)": "the job's script ended with exit code 4 at or after 'echo loading'; the log ends with: loading",
    "cd /nowhere/at/all": "cd: /nowhere/at/all: No such file or directory",
    ". /nowhere/env.sh": "/nowhere/env.sh: No such file or directory",
    "echo ${NOWHERE:?is not set}": "NOWHERE: is not set",
    "eval 'if then fi'": "syntax error near unexpected token",
}
FIRST = ("exit 3", "module load nope")


@pytest.mark.fault(
    "a line of the site's setup fails: {line}",
    survived="once the line is right",
    lost="nothing",
    reported="failed: exit code and command, or what bash complains of",
)
@pytest.mark.parametrize(
    "line", [*FIRST, *(pytest.param(line, marks=pytest.mark.faults) for line in LINES if line not in FIRST)]
)
def test_a_line_of_the_site_that_fails_is_the_reason_though_slurm_has_forgotten_the_job(
    bertjob: Face, request: pytest.FixtureRequest, line: str
) -> None:
    site, run = bertjob.site("site", setup=["echo loading", line]), RunDir(bertjob.folder / "run")
    words = ("--site", site, "--nodes", 2, "--gpus-per-node", 0, "--run-dir", run.path)
    job_id = bertjob("submit", "smoke", *words).stdout.split()[-1]
    until(lambda: over(job_id))
    known = reported(bertjob, job_id)
    request.getfixturevalue("forgetful")
    assert reported(bertjob, job_id) == known
    assert known[0] == "failed"
    assert LINES[line] in known[1]
    assert known[1] in bertjob("wait", job_id, code=1).stderr


@pytest.mark.fault(
    "the nodes do not see the run directory",
    survived="with another --run-dir",
    lost="nothing",
    reported="failed: there is no log, the node does not see the folder",
)
def test_a_run_directory_that_the_nodes_do_not_see_is_the_reason(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    hidden = tmp_path / "of the login node"
    hidden.mkdir()
    run = RunDir(hidden / "run")
    for node in cluster.nodes:
        assert cluster.on_node(node, "mount", "-t", "tmpfs", "tmpfs", str(hidden)).returncode == 0
    try:
        words = ("--nodes", 1, "--gpus-per-node", 0, "--run-dir", run.path)
        job_id = bertjob("submit", "smoke", *words).stdout.split()[-1]
        told = bertjob("wait", job_id, code=1).stderr
        assert f"Slurm could not start the script: there is no log: its node does not see {run.path} or" in told
    finally:
        for node in cluster.nodes:
            cluster.on_node(node, "umount", str(hidden))


LIMITS = {
    "CPU": ("-t", 8, "RLIMIT_CPU is 8 s of CPU time for a process (ulimit -t)"),
    "AS": ("-v", 3 << 19, "RLIMIT_AS is 1.5 GiB of address space for a process (ulimit -v)"),
    "FSIZE": ("-f", 1 << 10, "RLIMIT_FSIZE is 1 MiB for a file (ulimit -f)"),
}


@pytest.mark.fault(
    "RLIMIT_{name} of the shell that submits",
    survived="with a higher limit, or by --propagate=NONE",
    lost="steps since the checkpoint",
    reported="failed: which limit it was; submit warns of it",
)
@pytest.mark.parametrize(
    "name", ["CPU", *(pytest.param(name, marks=pytest.mark.faults) for name in LIMITS if name != "CPU")]
)
def test_a_limit_of_the_shell_that_ends_the_job_is_named(
    bertjob: Face, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    option, size, told = LIMITS[name]
    run, wrapped = RunDir(bertjob.folder / "run"), bertjob.folder / "wrapped"
    wrapped.mkdir()
    (wrapped / "sbatch").write_text(f'#!/bin/bash\nulimit -S {option} {size}\nexec {shutil.which("sbatch")} "$@"\n')
    (wrapped / "sbatch").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{wrapped}:{os.environ['PATH']}")
        words = ("--nodes", 2, "--run-dir", run.path)
        job = tiny(10 if name == "FSIZE" else 1_000_000, checkpoint={"every_steps": 5})  # the model is too large a file
        job_id = bertjob("submit", job, *words).stdout.split()[-1]
    assert told in bertjob("wait", job_id, code=1).stderr, run.log(job_id).read_text()
