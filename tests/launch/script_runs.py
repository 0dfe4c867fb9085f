"""Scripts run by bash as slurmd would run them: the cluster's commands are fakes, the training is a small program."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.commands import Commands
from planned import HOSTILE, SLURM, made, with_

from bertjob.config.site import Site
from bertjob.rundir.directory import RunDir


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Batch:
    """A script that bash runs as slurmd would; the cluster's commands are fakes, the ranks are one Python program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / HOSTILE[0]
        self.commands = Commands(folder / "bin")
        self.slurm_says()
        self.commands.make("module")
        self.commands.make("scancel")
        srun = folder / "bin/srun"
        srun.write_text('#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec "$@"\n')
        srun.chmod(0o755)

    def slurm_says(
        self, state: str = "RUNNING", restarts: int = 0, preempted: str = "None", stderr: str = "", code: int = 0
    ) -> None:
        """What scontrol says of the job; the first lines are the names of its nodes."""
        job = f"   JobState={state} Reason=None\n   Requeue=1 Restarts={restarts} BatchFlag=1\n"
        job += f"   PreemptTime={preempted} x\n"
        self.commands.make("scontrol", stdout=f"n1\nn2\n{job}", stderr=stderr, code=code)

    def cancel(self, process: subprocess.Popen[str]) -> None:
        """What ``bertjob cancel`` does: the mark, then TERM to the script."""
        RunDir(self.run_dir).cancellation("7").write_text("")
        process.send_signal(signal.SIGTERM)

    def start(self, body: str, *, by_hand: bool = False, site: Site = SLURM, **env: str) -> subprocess.Popen[str]:
        """Start the script of a job whose training is the body, a piece of Python."""
        if "SLURM_RESTART_COUNT" in env:  # the first start has made it
            self.run_dir.mkdir(exist_ok=True)
            RunDir(self.run_dir).job.touch()
        program = self.folder / "program"
        program.write_text(f"#!{sys.executable}\n{PRELUDE}{textwrap.dedent(body)}")
        program.chmod(0o755)
        return self.start_text(made(with_(site, python=str(program)), None if by_hand else str(self.run_dir)), **env)

    def start_text(self, text: str, **env: str) -> subprocess.Popen[str]:
        """Start a script."""
        path = self.folder / "script"
        path.write_text(text)
        job = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "n[1-2]",
            "SLURM_CPUS_PER_TASK": "3",
            "SLURM_JOB_NUM_NODES": "1",
        }
        job |= {"SLURM_SUBMIT_DIR": str(self.folder), "PATH": f"{self.commands.folder}:{os.environ['PATH']}"}
        with (self.folder / "j-7.out").open("a") as log:
            return subprocess.Popen(["bash", str(path)], env=job | env, stdout=log, stderr=log, text=True)

    def run(self, body: str, **keys: Any) -> int:
        """Run it to the end; the exit code."""
        return self.start(body, **keys).wait(60)

    @property
    def log(self) -> str:
        """What the script and the ranks have said, without the line by which each start begins."""
        lines = (self.folder / "j-7.out").read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("bertjob: job 7 starts on "))

    @property
    def requeues(self) -> list[list[str]]:
        """How often, and with which id, Slurm was asked to start the job again."""
        return [call for call in self.commands.calls("scontrol") if call[0] == "requeue"]


PRELUDE = r"""
import json, os, pathlib, signal, sys, time
run = pathlib.Path(sys.argv[-1]).parent

def checkpoint(step):
    (run / "checkpoints").mkdir(exist_ok=True)
    (run / "checkpoints/latest").write_text(f"step-{step:06d}")

def stop(number, frame):
    os.write(1, f"got {signal.Signals(number).name}\n".encode())  # at once, or two ranks' lines would mix
    checkpoint(1)
    sys.exit(85)

"""
WAITING = """
signal.signal(signal.SIGUSR1, stop)
signal.signal(signal.SIGTERM, stop)
(run / "up").write_text(str(os.getpid()))
time.sleep(20)
"""
