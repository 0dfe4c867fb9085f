"""What the login node's commands cost: CPU time, as a multiple of an empty Python's.

The commands and the empty Python take turns; what counts is the median over the rounds of the ratio.
"""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROUNDS = 15
GOAL = 10.0
BERTJOB = str(Path(sys.executable).with_name("bertjob"))
COMMANDS = (("--help",), ("script", "squad", "--nodes", "8"), ("script", "squad", "--nodes", "8", "--site", "daint"))


def main() -> int:
    """Measure and print; 0 if all commands meet the goal."""
    ratios: dict[tuple[str, ...], list[float]] = {command: [] for command in COMMANDS}
    empty = []
    for _ in range(ROUNDS):
        empty.append(cpu_seconds([sys.executable, "-c", "pass"]))
        for command, found in ratios.items():
            found.append(cpu_seconds([BERTJOB, *command]) / empty[-1])
    print(f"python -c pass: {statistics.median(empty) * 1e3:.1f} ms of CPU time, {ROUNDS} rounds")
    medians = {command: statistics.median(found) for command, found in ratios.items()}
    for command, ratio in medians.items():
        print(f"  {ratio:5.1f} x  bertjob {' '.join(command)}  (goal: at most {GOAL:.0f})")
    return int(max(medians.values()) > GOAL)


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one run of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(command, check=True, **silent, env={**os.environ, "BERTJOB_SITE": ""})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
