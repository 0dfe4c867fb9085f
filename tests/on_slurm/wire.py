"""Bytes on the links of the embedded cluster while a job trains: counted on the interfaces, told by step.

tests/bench/onebit_wire.py measures with it as well.
"""

import json
import statistics
import threading
import time
from bisect import bisect_left
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from face import Face
from slurm.lab import Lab

from bertjob.rundir.directory import RunDir

SEEDS = {"pretrain-onebit": 23000 / 152000, "squad-onebit": 400 / 1850}
"""Jobs of DeepSpeed's tutorial, with their share of steps in full precision."""


class Stage(NamedTuple):
    """What some steps of a training cost.

    Attributes:
        sent: bytes that a node sends in a step; the mean over nodes and steps.
        seconds: from the end of one step to the end of the next; the median, for other work may slow some of them.
    """

    sent: float
    seconds: float


class Wire:
    """Looks at the counters of all nodes a hundred times a second, in a thread, between `with` and its end."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._times: list[float] = []
        self._sent: list[float] = []

    def __enter__(self) -> "Wire":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def stage(self, run: RunDir, first: int, last: int) -> Stage:
        """The steps after `first`, up to `last`, of a training that has logged each one."""
        lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
        ends = {line["step"]: line["time"] for line in lines if "loss" in line}
        sent = self._at(ends[last]) - self._at(ends[first])
        seconds = statistics.median(ends[step + 1] - ends[step] for step in range(first, last))
        return Stage(sent / (last - first), seconds)

    def _look(self) -> None:
        while not self._over.wait(0.01):
            sent = [self._lab.sent(node) for node in self._lab.nodes]
            self._times.append(time.time())
            self._sent.append(sum(sent) / len(sent))

    def _at(self, moment: float) -> float:
        """Bytes sent up to a moment, in a straight line between two looks."""
        later = bisect_left(self._times, moment)
        assert 0 < later < len(self._times), "the training was not watched then"
        share = (moment - self._times[later - 1]) / (self._times[later] - self._times[later - 1])
        return self._sent[later - 1] + share * (self._sent[later] - self._sent[later - 1])


def trained(
    bertjob: Face, lab: Lab, squad: Path, layers: int, hidden: int, steps: int, optimizer: dict[str, object]
) -> tuple[Wire, RunDir]:
    """Let four ranks train a random model on `squad`'s questions, and watch the links meanwhile."""
    job = bertjob.job(
        model={"init": "random", "vocab": str(squad / "vocab.txt"), "layers": layers, "hidden": hidden, "heads": 2},
        data={"train": str(squad / "train.json")},
        precision="fp32",
        train={
            "global_batch": 4,
            "micro_batch": 1,
            "epochs": 1e6,
            "max_steps": steps,
            "max_seq_length": 96,
            "log_every": 1,
        },
        optimizer=optimizer,
    )
    run = RunDir(bertjob.folder / str(optimizer["name"]))
    with Wire(lab) as wire:
        bertjob("submit", job, "--run-dir", run.path, "--wait", timeout=600)
    return wire, run


def less_to_send(full: float, compressed: float, warm_up: float) -> float:
    """How many times less is sent over a whole training whose share `warm_up` of steps is in full precision."""
    return full / (warm_up * full + (1 - warm_up) * compressed)
