"""What a job asks for against what the scheduler's partitions have. Slurm takes jobs that ask for more, and they wait.

By default sbatch accepts a job beyond the limits of its partition, which then pends with the reason PartitionTimeLimit
or PartitionNodeLimit (slurm.conf(5) of 22.05, EnforcePartLimits), or Resources. What cannot be told for certain passes:
Slurm knows. CPUs are those of sinfo, hardware threads where Slurm counts them; neither --overcommit nor --exclusive
makes room for more of them per node (22.05.8).
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.config import walltime
from bertjob.config.job import Job, Resources
from bertjob.config.site import Site
from bertjob.launch.problems import Problem
from bertjob.launch.schedulers import SCHEDULERS, sbatch_options, sbatch_words

ASK_FOR_LESS = "ask for less, or for another --partition"
_FEATURE = re.compile(r"[&|()]|[\w.:=/-]+")
_UNKNOWN = float("inf")
_ONE_THREAD = frozenset({"compute_bound", "memory_bound", "nomultithread"})
"""Values of --hint by which each CPU of a job is a core of its own (measured on 22.05.8)."""


def partition_names(asked: Resources, groups: Sequence[NodeGroup]) -> list[str]:
    """The partitions that a job may start in: those that it names, or the default one; empty where there is none."""
    if named := _said(asked).get("partition", asked.partition):
        return named.split(",")
    return [group.partition for group in groups if group.default][:1]


def too_much(job: Job, site: Site, groups: Sequence[NodeGroup]) -> Iterator[str]:
    """What a job asks for and one partition does not have.

    Args:
        job: the resolved job.
        site: where it runs.
        groups: the nodes of the partition, at least one group.
    """
    asked = job.resources
    nodes, needs = asked.nodes or 1, list(_of_each_node(job, site))
    allowed = [group for group in groups if _has_features(group, _constraint(asked))]
    if not allowed:
        yield f"no node has the features {_constraint(asked)}"
    most = [(need, max(map(need.there, allowed), default=_UNKNOWN)) for need in needs]
    lacking = [
        f"{need.number:.0f} {need.unit} per node are asked for, there are {there:.0f}"
        for need, there in most
        if need.number > there
    ]
    yield from lacking
    fitting = [group for group in allowed if all(need.number <= need.there(group) for need in needs)]
    total = sum(group.nodes for group in groups)
    limit = None if _may_exceed(job, site) else max((group.most_nodes or total for group in groups), default=None)
    if nodes > (there := min(total, limit or total)):
        yield f"{nodes} nodes are asked for, a job may have {there}"
    elif allowed and not lacking and nodes > (there := sum(group.nodes for group in fitting)):
        together = " and ".join([f"{need.number:.0f} {need.unit}" for need in needs])
        features = f" with the features {_constraint(asked)}" if len(allowed) < len(groups) else ""
        yield f"{nodes} nodes{features} of at least {together} are asked for, there are {there}"
    best = roomiest(groups)
    if _may_exceed(job, site) or not (asked.time and best.time):
        return
    if walltime.parse(asked.time) > walltime.parse(best.time):
        yield f"{asked.time} is asked for, the limit is {best.time}"


class _Need(NamedTuple):
    number: float
    unit: str
    there: Callable[[NodeGroup], float]
    """What a node has of it."""


def _of_each_node(job: Job, site: Site) -> Iterator[_Need]:
    asked = job.resources
    if asked.gpus_per_node and site.gpu_option != "none":
        yield _Need(asked.gpus_per_node, "GPUs", lambda group: group.gpus)
    said, tasks = _said(asked), asked.tasks_per_node or 1
    cpus = tasks * (asked.cpus_per_task or 1)
    least = _number(said.get("mincpus"))
    yield _Need(max(cpus, least), "CPUs", lambda group: _UNKNOWN if group.more else group.cpus)
    cores = cpus if said.get("hint") in _ONE_THREAD or said.get("threads-per-core") == "1" else 0
    if per_core := _number(said.get("ntasks-per-core")):
        cores = max(cores, -(-tasks // per_core))
    if cores:
        yield _Need(cores, "CPU cores", lambda group: _UNKNOWN if group.more else _cores(group))
    if memory := _memory(asked, cpus):
        # A node has 1 MB where nobody has configured it (slurm.conf(5), RealMemory).
        yield _Need(memory, "MB of memory", lambda group: _UNKNOWN if group.more or group.memory <= 1 else group.memory)


def _memory(asked: Resources, cpus: int) -> float:
    """MB that a job asks for on each node; 0 where it asks for none, for all, or in a way that is not counted here."""
    said = _said(asked)
    for option, number in (("mem-per-cpu", cpus), ("mem-per-gpu", asked.gpus_per_node or 0)):
        if option in said:
            return (sbatch_options.megabytes(said[option]) or 0) * number
    return sbatch_options.megabytes(said.get("mem", asked.mem or "")) or 0


def _said(asked: Resources) -> dict[str, str]:
    """The further options by their long names, the last of each."""
    return {option.name: option.value for option in sbatch_words.options(asked.sbatch)}


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() else 0


def _cores(group: NodeGroup) -> float:
    return min(group.cores, group.cpus) if group.cores else _UNKNOWN


def _constraint(asked: Resources) -> str:
    return _said(asked).get("constraint", asked.constraint or "")


def _has_features(group: NodeGroup, constraint: str) -> bool:
    """Whether nodes have the features that a job asks for, or nobody can tell."""
    words = _FEATURE.findall(constraint)
    if not words or "".join(words) != constraint.replace(" ", ""):
        return True  # counts of nodes and alternatives in brackets are left to Slurm
    return _fulfilled(words, group.features) is not False


def _fulfilled(words: Sequence[str], features: Collection[str]) -> bool | None:
    """Whether features fulfil a constraint, which may have parentheses; None for `&` beside `|`, or what is wrong."""
    stack: list[list[bool | str]] = [[]]
    for word in words:
        if word == "(":
            stack.append([])
        elif word == ")":
            value = _joined(stack.pop())
            if value is None or not stack:
                return None
            stack[-1].append(value)
        else:
            stack[-1].append(word if word in "&|" else word in features)
    return _joined(stack[0]) if len(stack) == 1 else None


def _joined(parts: Sequence[bool | str]) -> bool | None:
    values, signs = parts[::2], set(parts[1::2])
    if not all(isinstance(value, bool) for value in values) or len(signs) > 1 or len(parts) % 2 == 0:
        return None
    return all(values) if signs == {"&"} else any(values)


def roomiest(groups: Sequence[NodeGroup]) -> NodeGroup:
    """The nodes of a partition that can take the most of a job."""
    return max(groups, key=lambda group: (group.gpus, group.cpus))


def problems(job: Job, site: Site, groups: Sequence[NodeGroup]) -> Iterator[Problem]:
    """What would keep a job waiting for ever: each partition that it may start in has too little for it.

    A partition that is not among the groups may be hidden from this user's sinfo, and a cluster that does not answer
    may have the nodes; the scheduler itself knows.
    """
    asked = {group.cluster for group in groups}
    found = []
    for cluster in sbatch_options.clusters(job.resources.sbatch) or asked:
        there = [group for group in groups if group.cluster == cluster]
        names = partition_names(job.resources, there)
        if not names:
            return
        for name in names:
            nodes = [group for group in there if group.partition == name]
            lacking = "; ".join(too_much(job, site, nodes)) if nodes else ""
            if not lacking:
                return
            found.append(f"{described(nodes[0])}: {lacking}")
    if found:
        yield Problem("; ".join(found), ASK_FOR_LESS)


def described(group: NodeGroup) -> str:
    """The partition in words, with its cluster where that was named."""
    return f"partition {group.partition}{f' of cluster {group.cluster}' if group.cluster else ''}"


def _may_exceed(job: Job, site: Site) -> bool:
    """Whether the job names a quality of service, which may lift a partition's limits of nodes and time."""
    return bool(job.resources.qos) or SCHEDULERS[site.scheduler].has_option(job.resources.sbatch, "--qos", "-q")
