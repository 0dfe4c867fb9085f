"""Options passed through to sbatch: which ones would break the plan, and those that bertjob adds itself.

Each is one word, as the command line joins them: ``--time=1``, ``-t1``.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bertjob.launch.schedulers.sbatch_words import options

_GPUS = "use --gpus-per-node before the --, or set resources.gpus_per_node"
_INSTEAD = {
    "--array": "submit once for each run, as all jobs of an array would train in one run directory",
    "--chdir": "use --run-dir before the --",
    "--cpus-per-task": "use --cpus-per-task before the --, or set resources.cpus_per_task",
    "--error": "the log is in the run directory, use --run-dir before the --",
    "--gpus": _GPUS,
    "--gpus-per-node": _GPUS,
    "--gpus-per-socket": _GPUS,
    "--gpus-per-task": _GPUS,
    "--job-name": "set name",
    "--nodes": "use --nodes before the --, or set resources.nodes",
    "--ntasks": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--ntasks-per-node": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--open-mode": "leave it out, as a job that starts again goes on in its log",
    "--output": "the log is in the run directory, use --run-dir before the --",
    "--signal": "set checkpoint.signal_seconds",
    "--tasks-per-node": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--time": "use --time before the --, or set resources.time",
    "--wrap": "leave it out, as bertjob writes the script",
}
"""Options that the plan computes with or the script relies on, and what to use in their place."""

_OWN_ANSWER = "leave it out, as bertjob asks sbatch for the job's id, and prints it as its last line"
_TEXT = "call sbatch itself, as no job would be submitted"
_OTHER_MEANING = {
    "--autocomplete": _TEXT,
    "--external": "leave it out, as such a job runs no script",
    "--help": _TEXT,
    "--parsable": _OWN_ANSWER,
    "--quiet": _OWN_ANSWER,
    "--test-only": "use `bertjob submit --dry-run`, which checks the job and says what `sbatch --test-only` says of it",
    "--usage": _TEXT,
    "--version": _TEXT,
    "--wait": "use `bertjob submit --wait`, or `bertjob wait` later",
}
"""Options by which sbatch queues no job, does not say its id, or returns at its end with its exit code; and what to do
in their place (slurm_opt.c and sbatch.c of 19.05 to 26.05)."""

_SHORT = {
    "-D": "--chdir",
    "-G": "--gpus",
    "-J": "--job-name",
    "-N": "--nodes",
    "-Q": "--quiet",
    "-V": "--version",
    "-W": "--wait",
    "-a": "--array",
    "-c": "--cpus-per-task",
    "-e": "--error",
    "-h": "--help",
    "-n": "--ntasks",
    "-o": "--output",
    "-t": "--time",
}
_GPU_OF_GRES = re.compile(r"--gres=(.*,)?gpu([:,].*)?")
"""GPUs as generic resources, alone or among others."""
_MEMORY = re.compile(r"\+?(\d+)(?:([KMGT])B?)?", re.ASCII | re.IGNORECASE)
"""Sizes that sbatch takes (22.05.8): ``64G``, ``64gb``, ``64000``; not ``64.5G``, ``64GiB``, ``1P``."""
_SIZES = frozenset({"mem", "mem-per-cpu", "mem-per-gpu"})
_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
_SEPARATORS = frozenset({":", "hetjob", "packjob"})
"""What parts the components of a heterogeneous job, among options and on lines of a script."""
HETEROGENEOUS = "bertjob starts no heterogeneous job: its ranks are alike on all nodes"
_LEAST = len("--depen")
"""Letters by which no two of the options that are looked for, and no other ones, are mistaken for each other."""
_SHORT_FLAGS = frozenset("HOQVWhsv")
"""Short options that take no value, so that others may follow in the same word: ``-Hc4`` is ``-H -c4``."""
_WAIT_VARIABLE = "SBATCH_WAIT"


def option_problems(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the options: one line for each that would break the plan, or change what sbatch does."""
    for word in words:
        if word in ("-", "--"):
            yield f"{word} is not an option of sbatch: leave it out"
        if separates_components(word):
            yield f"the sbatch option {word}: {HETEROGENEOUS}"
        for name in _names(word):
            full = _full(name)
            if full in _INSTEAD:
                yield f"the sbatch option {name} would contradict the plan: {_INSTEAD[full]}"
            elif full in _OTHER_MEANING:
                yield f"the sbatch option {name} changes what submitting means: {_OTHER_MEANING[full]}"
        if _GPU_OF_GRES.fullmatch(word):
            yield f"the sbatch option {word} would contradict the plan: {_GPUS}"
    for option in options(words):
        if option.name in _SIZES and megabytes(option.value) is None:
            form = "sbatch takes a whole number of MB, or one with K, M, G or T behind it, as in 60G"
            yield f"the sbatch option {' '.join(option.words)}: {form}"


def environment_problem(environment: Mapping[str, str]) -> str:
    """The variable that changes what sbatch means, and what to do in its place; empty where there is none.

    Of the options that do, sbatch reads only ``--wait`` from a variable (opt.c of 19.05 to 26.05).
    """
    value = environment.get(_WAIT_VARIABLE)
    if value is None or not is_on(value):
        return ""
    return f"{_WAIT_VARIABLE} is set in this shell: unset it, and {_OTHER_MEANING['--wait']}"


def is_on(value: str) -> bool:
    """Whether a variable turns an option on that takes no value: empty, ``yes``, a number but 0 (man sbatch)."""
    return value in ("", "yes") or re.fullmatch(r"[+-]?0*[1-9]\d*", value) is not None


def separates_components(word: str) -> bool:
    """Whether a word parts the components of a heterogeneous job."""
    return word.lower().lstrip("-") in _SEPARATORS


def megabytes(size: str) -> float | None:
    """A size of memory in MB of 1024 * 1024 bytes; None where sbatch does not take it."""
    found = _MEMORY.fullmatch(size)
    return int(found[1]) * _MEGABYTES[(found[2] or "M").upper()] if found else None


def has_option(words: Sequence[str], long: str, short: str) -> bool:
    """Whether an option is among the words, in its long or its short form."""
    return any(name in (long, short) for word in words for name in _names(word))


def _names(word: str) -> Iterator[str]:
    """The options in a word, without a value: ``--time=1`` has ``--time``, ``-Ht1`` has ``-H`` and ``-t``."""
    if word.startswith("--"):
        yield word.partition("=")[0]
    elif word.startswith("-"):
        for letter in itertools.takewhile(str.isalpha, word[1:]):
            yield f"-{letter}"
            if letter not in _SHORT_FLAGS:
                return


def _full(name: str) -> str:
    """The option of the tables that is meant; sbatch takes long ones cut short as well: ``--arr`` is ``--array``."""
    if name in _SHORT or len(name) <= len("--"):
        return _SHORT.get(name, "")
    known = (*_INSTEAD, *_OTHER_MEANING)
    return name if name in known else next((option for option in known if option.startswith(name)), "")


def names_nodes(words: Sequence[str]) -> bool:
    """Whether the options name the nodes to run on."""
    return bool(_values(words, "--nodelist", "-w"))


def propagated(words: Sequence[str]) -> str:
    """The resource limits that ``--propagate`` hands on: ALL, which is also what it means by itself, NONE or a list."""
    parts = (word.partition("=") for word in words)
    said = [value for name, _, value in parts if len(name) > len("--pro") and "--propagate".startswith(name)]
    return (said[-1] or "ALL") if said else ""


def clusters(words: Sequence[str]) -> list[str]:
    """Names of the clusters one of which is to have the job, as the last such option counts; none for the default."""
    joined: list[str] = []
    for part in (part for word in words for part in word.split(maxsplit=1)):
        if joined and not part.startswith("-"):
            joined[-1] += part if joined[-1] == "-M" else f"={part}"
        else:
            joined.append(part)
    said = _values(joined, "--clusters", "-M")
    return [name for name in said[-1].strip("'\"").split(",") if name] if said else []


def closes_environment(words: Sequence[str]) -> str:
    """The option that keeps variables of the submitting shell from the job; empty where there is none.

    sbatch hands on all of them but by ``--export=NONE`` or a list without ``ALL``, and ``--export-file``.
    """
    for word in words:
        name, _, value = word.partition("=")
        if len(name) > len("--exp") and "--export-file".startswith(name) and "ALL" not in value.split(","):
            return word
    return ""


def excluding(words: Sequence[str], nodes: Iterable[str]) -> tuple[str, ...]:
    """The option that leaves nodes out, with those that `words` exclude already, as the last such option counts."""
    said = _values(words, "--exclude", "-x")
    return (f"--exclude={','.join(dict.fromkeys([*said[-1:], *nodes]))}",)


def after(words: Sequence[str], job_id: str, cluster: str) -> tuple[str, ...]:
    """The options of a job that starts when another one has succeeded, and is cancelled when that one has failed.

    It must be on the same cluster: of those that `words` name, the one that has the job before.

    What `words` wait for is waited for as well, because the last such option counts. Where any one of several is enough
    (``?``), which Slurm does not mix with ``,``, the job before has waited for it.
    """
    said = [value for value in _values(words, "--dependency", "-d")[-1:] if "?" not in value]
    there = (f"--clusters={cluster}",) if cluster and clusters(words) else ()
    return "--kill-on-invalid-dep=yes", f"--dependency={','.join([*said, f'afterok:{job_id}'])}", *there


def _values(words: Sequence[str], long: str, short: str) -> list[str]:
    """What an option is set to, each time that it is said, also cut short: ``--exclud=n1``, ``-xn1``.

    Cut short to less than seven letters it may be another one: ``--excl`` is ``--exclude`` or ``--exclusive``.
    """
    found = []
    for word in words:
        name, _, value = word.partition("=")
        if name.startswith("--"):
            if len(name) >= _LEAST and long.startswith(name):
                found.append(value)
        elif short in _names(word):
            found.append(word.partition(short[1])[2])
    return found
