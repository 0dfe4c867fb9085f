"""A training on the cluster: where it stands, and what may happen to it."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from slurm.lab import Lab
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

Tiny = Callable[..., Path]
"""Writes the job of a small training: `tiny(steps, **sections)`."""


def wait_for_step(run: RunDir, job_id: str, step: int) -> None:
    def there() -> bool:
        state = read_state(run.state)
        return state is not None and state.job_id == job_id and state.step >= step

    until(there, seconds=300)


def restarts(job_id: str) -> int:
    shown = subprocess.run(["scontrol", "show", "job", job_id], capture_output=True, text=True, check=True).stdout
    return int(shown.split("Restarts=")[1].split()[0])


def nodes_of(cluster: Lab, job_id: str) -> list[int]:
    """The nodes that a job runs on, in the order of its ranks."""

    def said(*words: str) -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    folded = said("squeue", "--noheader", f"--jobs={job_id}", "--format=%N").strip()
    numbers = {cluster.shape.host(node): node for node in cluster.nodes}
    return [numbers[host] for host in said("scontrol", "show", "hostnames", folded).split()]


def kill_training(cluster: Lab, node: int) -> None:
    """SIGKILL the training's process on a node."""
    ranks = [pid for pid, words in cluster.processes(node).items() if words[1:4] == ["-u", "-m", "bertjob.train"]]
    assert len(ranks) == 1
    os.kill(ranks[0], signal.SIGKILL)
