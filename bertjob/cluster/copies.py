"""Whether this process is one of several copies that a launcher has started: ``srun -n 2 bertjob run JOB``.

Each would train the whole job by itself, or queue one that does. Variables alone do not tell: a job that was submitted
from inside a step has those of the step. So where Slurm's own process is above this one, it counts which step it is of:
its title is ``slurmstepd: [7.0]`` in a step, ``[7.batch]`` in a batch script, ``[7.interactive]`` in salloc's shell
(22.05.8).
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bertjob.config.registry.launcher_programs import SRUN
from bertjob.config.registry.launchers import SLURM, TORCH, RankVariables, rank_variables
from bertjob.errors import PreflightError

_STEP = re.compile(r"slurmstepd: \[[\d_+.]+?\.(\w+)\]")
_DAEMONS = re.compile(
    r"(\S*/)?(mpirun|mpiexec(\.hydra)?|mpirun_rsh|mpispawn|orterun|orted|prterun|prte|prted|hydra_pmi_proxy|jsrun)\s"
    r"|.*(torchrun|torch\.distributed|deepspeed|accelerate)"
)
"""Processes by which MPI libraries and torchrun start ranks, as the beginning of their command lines."""


def refuse_copies(*, submits: bool) -> None:
    """Stop a copy, before it makes anything.

    Args:
        submits: it would queue the job, and not run it.

    Raises:
        PreflightError: this process is one of several; one line with the way that is meant.
    """
    at_a_terminal = sys.stdin is not None and sys.stdin.isatty()
    by_hand = at_a_terminal and _not_a_task(os.environ)
    if line := problem(os.environ, ancestors(), started_by_hand=by_hand, submits=submits):
        raise PreflightError(line)


def problem(
    environment: Mapping[str, str], above: Sequence[str], *, started_by_hand: bool = False, submits: bool = False
) -> str:
    """Why this process must not train; empty where it is alone.

    Args:
        environment: its variables.
        above: command lines of its ancestors, the nearest first.
        submits: it would queue the job, and not run it.
        started_by_hand: a person types in a shell that is a task: of ``srun -N 2 --pty bash``, one task has it.
    """
    place = next((at for at, line in enumerate(above) if _STEP.match(line)), None)
    step = "" if place is None else (_STEP.match(above[place]) or [""])[1]
    between = above if place is None else above[:place]
    for variables in rank_variables():
        count = _count(environment, variables)
        if count < 2:
            continue
        if variables == SLURM:
            is_copy = (place is None or step.isdigit()) and not started_by_hand
        else:  # where Slurm's process is seen, so is the launcher's below it; else a container hides both
            is_copy = place is None or any(map(_DAEMONS.match, between))
        if is_copy:
            return _refusal(environment, variables, count, submits=submits)
    return ""


def ancestors() -> list[str]:
    """Command lines of the processes above this one, the nearest first; those that others hide are left out."""
    found, pid = [], os.getppid()
    while pid > 1:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            break
        found.append(words.replace(b"\0", b" ").decode(errors="replace") + " ")
        parent = re.search(r"^PPid:\s*(\d+)", status, re.MULTILINE)
        pid = int(parent[1]) if parent else 0
    return found


def _not_a_task(environment: Mapping[str, str]) -> bool:
    """Whether srun --pty has started a shell around this process, and not the process itself."""
    return "SLURM_PTY_PORT" in environment and environment.get("SLURM_TASK_PID") != str(os.getpid())


def _count(environment: Mapping[str, str], variables: RankVariables) -> int:
    """How many copies these variables tell of; 0 where they tell nothing."""
    needed = (variables.rank, *((variables.local_rank,) if variables == TORCH else ()))
    size = environment.get(variables.size, "")
    told = all(name and name in environment for name in needed)
    return int(size) if told and size.isascii() and size.isdigit() else 0


def _refusal(environment: Mapping[str, str], variables: RankVariables, count: int, *, submits: bool) -> str:
    starter = SRUN.name if variables == SLURM else variables.source.removesuffix(" or bertjob")
    said = f"{starter} has started this command {count} times ({variables.size}={count}), and each would"
    several_runs = "several runs are several jobs, or an array"
    if submits:
        return f"{said} queue the job: start it once, as `bertjob submit JOB`; {several_runs}"
    nodes = environment.get("SLURM_STEP_NUM_NODES", "1") if variables == SLURM else "1"
    several = nodes.isascii() and nodes.isdigit() and int(nodes) > 1
    here = f"`bertjob run JOB --ntasks-per-node {count}`"
    spread = f"`bertjob submit JOB --nodes {nodes if several else 'N'}`"
    way = f"{spread} from outside" if several else f"{here}, or on several nodes {spread}"
    return f"{said} train the whole job by itself: start it once, as it starts its ranks: {way}; {several_runs}"
