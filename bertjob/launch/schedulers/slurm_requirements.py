"""What a job asks of Slurm: the site's defaults, what the shell's variables say and the job, one laid over the other.

Each may say a thing as a key of its resources or as an option of sbatch, in any spelling. By the site's `combine`, both
hold, the site's holds, or the job's replaces it; what is replaced is reported.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from bertjob.config.job import Resources
from bertjob.config.site import Combine, Site
from bertjob.errors import PreflightError
from bertjob.launch.schedulers import slurm_constraint
from bertjob.launch.schedulers.sbatch_options import is_on, option_problems
from bertjob.launch.schedulers.sbatch_words import OPTIONAL, SBATCH_VALUED, WITHOUT, options

_KEYS = {
    "nodes": "nodes",
    "ntasks-per-node": "tasks_per_node",
    "cpus-per-task": "cpus_per_task",
    "time": "time",
    "gpus-per-node": "gpus_per_node",
    "mem": "mem",
    "partition": "partition",
    "account": "account",
    "constraint": "constraint",
    "qos": "qos",
    "reservation": "reservation",
}
"""Keys of resources by the option of sbatch that they become."""
_AMOUNTS = frozenset({"nodes", "ntasks-per-node", "cpus-per-task", "time"})
"""How much a job takes, which each says for itself: not reported."""
_TEXTS = frozenset({"account", "constraint", "mem", "partition", "qos", "reservation", "time"})
_LISTS = frozenset({"dependency", "exclude", "gres", "licenses", "nodelist"})
"""Options whose values are lists of what all holds."""
_ALL = _LISTS - {"nodelist"} | {"constraint"}
_INSTEAD_OF = (
    frozenset({"mem", "mem-per-cpu", "mem-per-gpu"}),
    frozenset({"hint", "ntasks-per-core"}),
    frozenset({"hint", "threads-per-core"}),
    frozenset({"exclusive", "oversubscribe"}),
)
"""Options of which sbatch takes one only (its manual): a job that says one does not mean the site's other one."""
_FLAGS = WITHOUT - OPTIONAL | {"no-requeue", "ignore-pbs", "wait"}
_NAMES = {
    "ARRAY_INX": "array",
    "BURST_BUFFER": "bb",
    "CPU_FREQ_REQ": "cpu-freq",
    "MEM_PER_NODE": "mem",
    "REQ_SWITCH": "switches",
    "TIMELIMIT": "time",
}
"""Options by their variables of sbatch and salloc without the prefix, where these are not called alike."""


class Said(msgspec.Struct, frozen=True):
    """One thing asked for.

    Attributes:
        option: long name of the option of sbatch, without dashes.
        value: its value; empty without one.
        where: what says it.
        words: the words of resources.sbatch; none where it is a key of resources.
    """

    option: str
    value: str
    where: str
    words: tuple[str, ...] = ()


class Combined(msgspec.Struct, frozen=True):
    """What is asked of Slurm.

    Attributes:
        resources: all of it.
        notes: what was replaced or left out, a line each.
    """

    resources: Resources
    notes: tuple[str, ...] = ()


def combined(job: Resources, site: Site, environment: Mapping[str, str], prefix: str) -> Combined:
    """The site's defaults, under what the shell says, under what the job says.

    Args:
        job: what the job and the command line say.
        site: where it runs.
        environment: variables of the shell.
        prefix: beginning of the names of those that say defaults: ``SBATCH_`` or ``SALLOC_``.

    Raises:
        PreflightError: the job asks for something else where by the site's rules both or the site's must hold.
    """
    notes: list[str] = []
    own = _laid_over(list(_of_shell(environment, prefix, notes)), list(_of(job, "")), lambda low: "job", notes)
    rules: dict[str, Combine] = dict.fromkeys(_ALL, "all")
    rules.update((option, rule) for option, rule in site.combine.items())
    whole = _laid_over(list(_of(site.defaults, f"site {site.name}")), own, lambda low: rules.get(low, "job"), notes)
    keys: dict[str, Any] = {
        _KEYS[one.option]: one.value if one.option in _TEXTS else int(one.value) for one in whole if not one.words
    }
    words = tuple(word for one in whole for word in one.words)
    return Combined(Resources(**keys, sbatch=words), tuple(dict.fromkeys(notes)))


def _of(resources: Resources, where: str) -> Iterator[Said]:
    values = asdict(resources)
    for name, key in _KEYS.items():
        if values[key] is not None:
            yield Said(name, str(values[key]), where or f"resources.{key}")
    for option in options(resources.sbatch):
        yield Said(
            option.name, option.value, where or f"sbatch option {option.words[0].partition('=')[0]}", option.words
        )


def _laid_over(
    lower: Sequence[Said], upper: Sequence[Said], rule: Callable[[str], Combine], notes: list[str]
) -> list[Said]:
    """Those of both, without those of `lower` that others replace."""
    kept: list[Said] = []
    found = list(upper)
    for low in lower:
        rivals = [one for one in found if _excludes(one.option, low.option)]
        if not rivals:
            kept.append(low)
            continue
        last = rivals[-1]
        if last.option in _AMOUNTS and last.words:  # refused as an option that contradicts the plan
            kept.append(low)
            continue
        value = _value(low, last, rule(low.option), notes)
        if value == last.value and not (last.words and last.option in _TEXTS):
            continue
        found = [one for one in found if one not in rivals or one.option != last.option]
        found.append(_with_value(last, value))
    return [*kept, *found]


def _with_value(said: Said, value: str) -> Said:
    if said.option in _TEXTS:
        return replace(said, value=value, words=())
    return said if value == said.value else replace(said, value=value, words=(f"--{said.option}={value}",))


def _excludes(one: str, other: str) -> bool:
    return one == other or any({one, other} <= some for some in _INSTEAD_OF)


def _value(low: Said, high: Said, rule: Combine, notes: list[str]) -> str:
    """What is asked for in the end: the value of the upper one, alone or with that of the lower.

    Raises:
        PreflightError: both must hold and cannot, or the lower one must.
    """
    if (low.option, low.value) == (high.option, high.value):
        return high.value
    if rule == "all" and low.option == high.option:
        value = _both(low, high)
        if value is None:
            raise PreflightError(
                f"{high.where}: {high.value} and {low.value} of {low.where} cannot both hold in Slurm's grammar:"
                f" write one expression that names {low.value} wherever it must hold"
            )
        counts = low.option == "constraint" and "*" in high.value  # which need not hold on every node
        if value == high.value and counts and not high.value.startswith(low.value):
            notes.append(_replaced(low, high))
        return value
    if rule in ("all", "site"):
        kept = f"{low.option} {low.value} of {low.where}".replace("  ", " ")
        raise PreflightError(
            f"{high.where}: {_shown(high, low)} is not possible beside {kept}, which keeps it by"
            f" `combine: {{{low.option}: {rule}}}`: leave yours out"
        )
    if low.option not in _AMOUNTS:
        notes.append(_replaced(low, high))
    return high.value


def _both(low: Said, high: Said) -> str | None:
    if low.option == "constraint":
        return slurm_constraint.both(low.value, high.value)
    if low.option in _LISTS:
        return high.value if f"{high.value},".startswith(f"{low.value},") else f"{low.value},{high.value}"
    return None


def _replaced(low: Said, high: Said) -> str:
    return f"{high.where}: {_shown(high, low)} replaces {low.option} {low.value}".rstrip() + f" of {low.where}"


def _shown(high: Said, low: Said) -> str:
    """The value; with the option where it is not the same."""
    return high.value if high.value and high.option == low.option else f"{high.option} {high.value}".rstrip()


def _of_shell(environment: Mapping[str, str], prefix: str, notes: list[str]) -> Iterator[Said]:
    """What variables of the shell say, which sbatch would let win over the script's lines."""
    variables = {name.removeprefix(prefix): name for name in environment if name.startswith(prefix)}
    if "SLURM_CLUSTERS" in environment:
        variables.setdefault("CLUSTERS", "SLURM_CLUSTERS")
    for short, name in sorted(variables.items()):
        option, value = _NAMES.get(short, short.lower().replace("_", "-")), environment[name]
        is_flag = option in _FLAGS or (option in OPTIONAL and value in ("", "yes"))
        if option in _FLAGS and not is_on(value):
            continue
        said = Said(option, value, name, (f"--{option}={value}",))
        if is_flag:
            said = Said(option, "", name, (f"--{option}",))
        problem = next(iter(option_problems(said.words)), "")
        is_key = option in _TEXTS or (option == "gpus-per-node" and value.isdecimal())
        if is_key and value and not (problem and option == "mem"):
            yield replace(said, words=())
        elif option not in SBATCH_VALUED | OPTIONAL | _FLAGS:
            notes.append(f"{name}={value} of this shell is left out: bertjob does not know it")
        elif problem:
            notes.append(f"{name}={value} of this shell is left out: {problem.partition(': ')[2]}")
        else:
            yield said
    if "SLURM_JOB_ID" not in environment and (others := sorted(filter(_of_srun, environment))):
        notes.append(f"left out, as the job has its own: {', '.join(others)} of this shell")


def _of_srun(name: str) -> bool:
    kept = ("SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS", "SLURM_DEBUG", "SLURM_TIME_FORMAT")
    return name.startswith(("SLURM_", "SRUN_")) and not name.startswith(kept)
