"""The guard of scripts for Slurm: real processes, and a srun that has one node, this machine."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from planned import LOCAL, made, with_

from bertjob.config.job import Launcher, Resources
from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch.schedulers.cut_off import GUARD, NOTE
from bertjob.rundir.world import SECRET_FILE

SILENT = '{"code":85,"who":"","line":"rank 1 has not been heard of","silent":true}'
FAILED = '{"code":1,"who":"rank 1 (n2)","line":"broken"}'
SRUN = """\
#!/bin/sh
while [ "$1" != /bin/sh ]; do shift; done
SLURM_NODEID=0 exec "$@"
"""
LEAVE_NOTE = 'echo {} > "$note"'
STUBBORN = "trap '' TERM; while :; do sleep 1; done"
"""A launcher that only KILL ends."""


class Job:
    """The lines of a script around its launcher, with quick sleeps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "logs").mkdir()
        self.note = folder / "logs" / "1.2.departure"
        self.secret = str(folder / "logs" / ".secret-a b'c")
        (folder / "srun").write_text(SRUN)
        (folder / "srun").chmod(0o755)
        self._started: list[subprocess.Popen[bytes]] = []

    def script(self, launcher: str, then: str = "") -> "subprocess.CompletedProcess[str]":
        """Start a launcher as job 1 in its third start, do `then`, and wait for its end."""
        text = f"""
set -euo pipefail
sleep() {{ command sleep 0.1; }}
export {SECRET_FILE}={shlex.quote(self.secret)}
{NOTE}
{GUARD}
bash -c {shlex.quote(launcher)} &
launcher=$!
guard &
guard=$!
{then}
while kill -0 "$launcher" 2> /dev/null; do wait "$launcher" || true; done
code=0
wait "$launcher" || code=$?
unguard
if kill -0 "$guard" 2> /dev/null; then echo "the guard is still there"; fi
echo "code $code"
"""
        env = {"RUN": str(self.folder), "SLURM_JOB_ID": "1", "SLURM_RESTART_COUNT": "2", "SLURM_JOB_NUM_NODES": "1"}
        path = f"{self.folder}:{os.environ['PATH']}"
        command = ["bash", "-c", text]
        return subprocess.run(command, env=env | {"PATH": path}, capture_output=True, text=True, check=False)

    def process(self, *words: str, env: dict[str, str] | None = None) -> "subprocess.Popen[bytes]":
        """Start something that lives for long."""
        lives = [sys.executable, "-c", "import time; time.sleep(600)", *words]
        self._started.append(subprocess.Popen(lives, env=env or {}))
        return self._started[-1]

    def end(self) -> None:
        """End what is left."""
        for process in self._started:
            process.kill()
            process.wait()


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    job.end()


def test_a_launcher_that_waits_for_silent_ranks_is_ended_with_all_of_its_start(job: Job) -> None:
    rank = job.process(env={SECRET_FILE: job.secret})
    rank.send_signal(signal.SIGSTOP)
    daemon_of_ssh = job.process("--mca", "bertjob_start", "bertjob-1.2")
    others = [
        job.process("bertjob-1.1"),
        job.process("bertjob-1.20"),
        job.process("bertjob-11.2"),
        job.process("bertjob-1x2"),
        job.process(env={SECRET_FILE: job.secret + "d"}),
        job.process(env={"OTHER": job.secret}),
    ]
    done = job.script(STUBBORN, LEAVE_NOTE.format(shlex.quote(SILENT)))
    assert done.stdout.splitlines()[-2:] == [
        "bertjob: the launcher, which still waited for ranks that are cut off, was ended",
        f"code {128 + signal.SIGKILL}",
    ], done.stderr
    assert rank.wait() == -signal.SIGKILL
    assert daemon_of_ssh.wait() == -signal.SIGTERM
    assert [other.poll() for other in others] == [None] * len(others)


def test_a_launcher_that_ends_by_itself_keeps_its_code_and_leaves_nothing_behind(job: Job) -> None:
    hidden = job.process("bertjob-1.2")
    done = job.script("exit 85", LEAVE_NOTE.format(shlex.quote(SILENT)))
    assert done.stdout.splitlines() == ["code 85"], done.stderr
    assert hidden.wait() == -signal.SIGTERM


@pytest.mark.parametrize("note", [SILENT, FAILED])
def test_a_note_of_an_earlier_start_ends_nothing(job: Job, note: str) -> None:
    job.note.write_text(note)  # of another job that had this number
    job.note.with_name("1.1.departure").write_text(note)
    rank = job.process(env={SECRET_FILE: job.secret})
    done = job.script("for i in 1 2 3 4 5; do sleep 0.5; done; exit 3")
    assert (done.stdout, done.stderr) == ("code 3\n", "")
    assert rank.poll() is None


def test_a_rank_that_leaves_for_another_reason_does_not_end_the_launcher(job: Job) -> None:
    done = job.script("for i in 1 2 3 4 5; do sleep 0.5; done", LEAVE_NOTE.format(shlex.quote(FAILED)))
    assert (done.stdout, done.stderr) == ("code 0\n", "")


def test_a_broken_slurm_does_not_save_the_launcher(job: Job) -> None:
    (job.folder / "srun").write_text("#!/bin/sh\nexit 1\n")
    done = job.script(STUBBORN, LEAVE_NOTE.format(shlex.quote(SILENT)))
    assert done.stdout.splitlines()[-1] == f"code {128 + signal.SIGKILL}"


@pytest.mark.parametrize(
    ("launcher", "guarded"),
    [("srun", False), ("torchrun", False), ("openmpi", True), ("openmpi-srun", True), ("hydra", True)],
)
def test_launchers_with_daemons_of_their_own_are_guarded(launcher: str, guarded: bool) -> None:
    text = made(launcher=launcher)
    assert ("\nguard &\n" in text, "\nunguard\n" in text) == (guarded, guarded)


RANK_1_STOPS = f"""\
#!{sys.executable}
import os, pathlib, signal, sys, time
logs = pathlib.Path(sys.argv[-1]).parent / "logs"
if os.environ["RANK"] == "1":
    (logs / "pid").write_text(str(os.getpid()))
    os.kill(os.getpid(), signal.SIGSTOP)
while not (logs / "pid").exists() or not (logs / "pid").read_text():
    time.sleep(0.01)
(logs / "local.0.departure").write_text({SILENT!r})
sys.exit(85)
"""
"""In place of the training: rank 0 finds that rank 1 is silent."""
MPIRUN = """\
#!/bin/bash
trap '' TERM
while [[ $1 != /* ]]; do shift; done
RANK=0 "$@" &
RANK=1 "$@" &
wait
exec sleep 600
"""


@pytest.mark.fault(
    "a rank of a local run stopped",
    survived="by the command that run names",
    lost="steps since the checkpoint",
    reported="which ranks have not been heard of",
)
@pytest.mark.parametrize("launcher", ["local", "openmpi"])
def test_without_a_scheduler_a_rank_that_is_stopped_holds_up_nobody(tmp_path: Path, launcher: Launcher) -> None:
    for name, text in (("program", RANK_1_STOPS), ("mpirun", MPIRUN)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    site = with_(LOCAL, python=str(tmp_path / "program"))
    text = made(site, str(tmp_path / "run"), resources=Resources(tasks_per_node=2), launcher=launcher)
    quick = text.replace("failed_at + 10", "failed_at + 1").replace("{1..15}", "1")
    assert quick != text
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", quick], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == REQUEUE_EXIT_CODE, done.stderr
    stopped = int((tmp_path / "run/logs/pid").read_text())
    assert not Path(f"/proc/{stopped}").exists() or " Z " in Path(f"/proc/{stopped}/stat").read_text()
