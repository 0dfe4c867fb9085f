"""Rules about variables: set and never read, read and never set, and misspelt."""

import re
from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches

from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.rules.finding import Found
from bertjob.lint.rules.known_variables import FAMILIES, FOR_PROGRAMS, OF_THE_SHELL, OPEN_ENDED, known
from bertjob.lint.steps import runs_unseen

_CLOSE = 0.85
"""How alike names must be: below it, a name of a newer version would pass for a misspelt one."""


def unread_variable(script: Script) -> Iterator[Found]:
    """Set, not exported, and read nowhere."""
    if runs_unseen(script) or any("allexport" in c.arguments or "-a" in c.arguments for c in script.named("set")):
        return
    exported = {assignment.name for assignment in script.assignments if assignment.exported}
    alone = [a for a in script.assignments if not (a.before_command or a.name in exported or _inherited(a.name))]
    times = Counter(assignment.name for assignment in alone)
    words = Counter(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", script.code))
    for name, count in times.items():
        if name and words[name] <= count:
            line = next(assignment.line for assignment in alone if assignment.name == name)
            for_programs = name.startswith(FOR_PROGRAMS)
            yield Found(
                line, f"{name} is set but " + ("not exported: no program sees it" if for_programs else "never read")
            )


def unset_variable(script: Script) -> Iterator[Found]:
    """Read, and set nowhere that can be seen: only names that can hardly come from the environment."""
    ours = {assignment.name for part in script.everything() for assignment in part.assignments}
    known = ours | script.set_otherwise | {read.name for read in script.reads if read.guarded}
    elsewhere = runs_unseen(script)
    seen: set[str] = set()
    for read in script.reads:
        name = read.name
        if name in known | seen or _inherited(name) or name.startswith("BASH_"):
            continue
        seen.add(name)
        close = _nearest(name, ours)
        if close:
            yield Found(read.line, f"{name} is read but never set; did you mean {close}?")
        elif name.islower() and not elsewhere:
            yield Found(read.line, f"{name} is read but never set")


def misspelt_variable(script: Script) -> Iterator[Found]:
    """Names of Slurm, NCCL, UCX and Open MPI that are nearly right."""
    parts = list(script.everything())
    reads = {read.name: read.line for part in reversed(parts) for read in reversed(part.reads)}
    assigned = {a.name: a.line for part in reversed(parts) for a in reversed(part.assignments)}
    assigned |= {a.name: a.line for part in parts for command in part.commands for a in command.settings}
    names = known()
    for name in sorted(reads.keys() | assigned.keys(), key=lambda name: (reads | assigned)[name]):
        own = name in reads and name in assigned
        if own or not name.startswith(FAMILIES) or name in names or name.startswith(OPEN_ENDED):
            continue
        close = _nearest(name, names)
        if close:
            yield Found((reads | assigned)[name], f"there is no {name}; did you mean {close}?")


def _inherited(name: str) -> bool:
    """Whether it comes exported from the login or from Slurm."""
    of_slurm = name.startswith("SLURM_") and name in known()
    return of_slurm or name in OF_THE_SHELL or name.startswith(("SRUN_", "SBATCH_"))


def _nearest(name: str, known: "set[str] | frozenset[str]") -> str | None:
    found = get_close_matches(name, sorted(known), n=1, cutoff=_CLOSE)
    return found[0] if found else None
