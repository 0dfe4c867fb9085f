"""The options of sbatch and srun (Slurm 22.05 to 25.05, uenv, and the plugins of the engines that bertjob knows)."""

from collections.abc import Iterator

from bertjob.launch.engines import ENGINES
from bertjob.launch.schedulers import sbatch_words
from bertjob.launch.schedulers.sbatch_words import ALIASES, SBATCH, SBATCH_VALUED, SHORT, WITH_VALUE, WITHOUT

_SRUN_WITH_VALUE = """
    cpu-bind epilog het-group jobid mpi prolog relative slurmd-debug task-epilog task-prolog threads accel-bind
"""
_SRUN_SHORT_WITH_VALUE = frozenset(
    f"-{short}"
    for short, long in SHORT.items()
    if long in {*WITH_VALUE, *_SRUN_WITH_VALUE.split(), "wait"} and short != "a"
)


def names() -> frozenset[str]:
    """Long names of sbatch's options, without the dashes."""
    return (WITH_VALUE | WITHOUT | SBATCH).union(
        *(row.slurm_options.valued | row.slurm_options.flags for row in ENGINES.values())
    )


def srun_with_value() -> frozenset[str]:
    """Options of srun that take the next word, where it is not joined to them."""
    long_names = WITH_VALUE | frozenset(_SRUN_WITH_VALUE.split()) | _of_plugins_with_value()
    return _SRUN_SHORT_WITH_VALUE | {f"--{name}" for name in long_names}


def _of_plugins_with_value() -> frozenset[str]:
    return frozenset[str]().union(*(row.slurm_options.valued for row in ENGINES.values()))


def long_name(name: str) -> str | None:
    """The long name of an option of sbatch, without dashes; None for one that sbatch does not know.

    Args:
        name: ``-N``, ``--nodes``, a long one cut short as getopt allows: ``--ntasks-per-n``, or ``hetjob``, which ends
            the options of one component of a heterogeneous job.
    """
    if name == "hetjob":
        return name
    return sbatch_words.long_name(name, names())


def srun_name(name: str) -> str:
    """The long name of an option of srun with its dashes; a name that is not known stays."""
    if name.startswith("--"):
        return f"--{ALIASES.get(name[2:], name[2:])}"
    return f"--{SHORT[name[1:]]}" if name[1:] in SHORT else name


def options(words: list[str]) -> Iterator[tuple[str, str | None]]:
    """Names and values of sbatch's options in the words of an ``#SBATCH`` line."""
    valued = SBATCH_VALUED | _of_plugins_with_value()
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, joined, value = word.partition("=")
            wants = not joined and long_name(name) in valued
            yield name, value if joined else next(rest, None) if wants else None
        elif word.startswith("-") and len(word) > 1:
            name, value = word[:2], word[2:]
            wants = long_name(name) in valued
            yield name, value.removeprefix("=") or (next(rest, None) if wants else None)
        else:
            yield word, None
