"""Options that go to sbatch as they are: which of them would break the plan, and what to use instead."""

import re
from collections.abc import Iterator, Sequence

_INSTEAD = {
    "--array": "submit once for each run, as all jobs of an array would train in one run directory",
    "--chdir": "use --run-dir before the --",
    "--cpus-per-task": "use --cpus-per-task before the --, or set resources.cpus_per_task",
    "--error": "the log is in the run directory, use --run-dir before the --",
    "--job-name": "set name",
    "--nodes": "use --nodes before the --, or set resources.nodes",
    "--ntasks": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--ntasks-per-node": "use --ntasks-per-node before the --, or set resources.tasks_per_node",
    "--open-mode": "leave it out, as a job that starts again goes on in its log",
    "--output": "the log is in the run directory, use --run-dir before the --",
    "--signal": "set checkpoint.signal_seconds",
    "--time": "use --time before the --, or set resources.time",
    "--wrap": "leave it out, as bertjob writes the script",
}
"""Options that the plan computes with or the script relies on, and what to use in their place."""

_SHORT = {
    "-D": "--chdir",
    "-J": "--job-name",
    "-N": "--nodes",
    "-a": "--array",
    "-c": "--cpus-per-task",
    "-e": "--error",
    "-n": "--ntasks",
    "-o": "--output",
    "-t": "--time",
}
SHORT = {"account": "-A", "constraint": "-C", "partition": "-p", "time": "-t"}
"""Short options by the keys of the resources that a site may want to be told."""
_SHORT_NAME = re.compile(r"-[HOQVWhsv]*([A-Za-z])")
"""A short option, maybe behind some that take no value: ``-Hc4`` is ``-H -c4``."""


def problems(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the options: one line for each that would break the plan."""
    for word in words:
        name = _name(word)
        full = _full(name)
        if full is not None:
            yield f"the sbatch option {name} would contradict the plan: {_INSTEAD[full]}"


def said(words: Sequence[str], long: str, short: str) -> bool:
    """Whether an option is among the words, in its long or its short form."""
    return any(_name(word) in (long, short) for word in words)


def _name(word: str) -> str:
    """The option without its value: ``--time=1`` is ``--time``, ``-t1`` is ``-t``; empty for a value by itself."""
    if word.startswith("--"):
        return word.partition("=")[0]
    short = _SHORT_NAME.match(word)
    return f"-{short[1]}" if short else ""


def _full(name: str) -> str | None:
    """The option of the table that is meant; sbatch takes long ones cut short as well: ``--arr`` is ``--array``."""
    if name in _INSTEAD or name in _SHORT:
        return _SHORT.get(name, name)
    cut_short = (option for option in _INSTEAD if len(name) > len("--") and option.startswith(name))
    return next(cut_short, None)
