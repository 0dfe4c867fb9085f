"""What a job asks for against what the scheduler's partitions have. Slurm takes jobs that ask for more, and they wait.

By default sbatch accepts a job beyond the limits of its partition, which then pends with the reason PartitionTimeLimit
or PartitionNodeLimit (slurm.conf(5) of 22.05, EnforcePartLimits).
"""

from collections.abc import Iterator, Sequence

from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.config import walltime
from bertjob.config.job import Job, Resources
from bertjob.config.site import Site
from bertjob.launch.problems import Problem
from bertjob.launch.schedulers import SCHEDULERS

ASK_FOR_LESS = "ask for less, or for another --partition"
_ELSEWHERE = (("--clusters", "-M"), ("--partition", "-p"))
"""Options that send a job to nodes that were not asked about."""


def partition_names(asked: Resources, groups: Sequence[NodeGroup]) -> list[str]:
    """The partitions that a job may start in: those that it names, or the default one; empty where there is none."""
    if asked.partition:
        return asked.partition.split(",")
    return [group.partition for group in groups if group.default][:1]


def too_much(job: Job, site: Site, groups: Sequence[NodeGroup]) -> Iterator[str]:
    """What a job asks for and one partition does not have.

    Args:
        job: the resolved job.
        site: where it runs.
        groups: the nodes of the partition, at least one group.
    """
    asked = job.resources
    best = roomiest(groups)
    nodes, gpus = asked.nodes or 1, asked.gpus_per_node or 0
    cpus = (asked.tasks_per_node or 1) * (asked.cpus_per_task or 1)
    total = sum(group.nodes for group in groups)
    most = total if _may_exceed(job, site) else min(total, best.most_nodes or total)
    if nodes > most:
        yield f"{nodes} nodes are asked for, a job may have {most}"
    if gpus > best.gpus and site.gpu_option != "none":
        yield f"{gpus} GPUs per node are asked for, there are {best.gpus}"
    if cpus > best.cpus:
        yield f"{cpus} CPUs per node are asked for, there are {best.cpus}"
    if _may_exceed(job, site) or not (asked.time and best.time):
        return
    if walltime.parse(asked.time) > walltime.parse(best.time):
        yield f"{asked.time} is asked for, the limit is {best.time}"


def roomiest(groups: Sequence[NodeGroup]) -> NodeGroup:
    """The nodes of a partition that can take the most of a job."""
    return max(groups, key=lambda group: (group.gpus, group.cpus))


def problems(job: Job, site: Site, groups: Sequence[NodeGroup]) -> Iterator[Problem]:
    """What would keep a job waiting for ever: each partition that it may start in has too little for it.

    A partition that is not among the groups may be hidden from this user's sinfo; the scheduler itself knows.
    """
    if any(SCHEDULERS[site.scheduler].has_option(job.resources.sbatch, *option) for option in _ELSEWHERE):
        return
    found = []
    for name in partition_names(job.resources, groups):
        nodes = [group for group in groups if group.partition == name]
        lacking = "; ".join(too_much(job, site, nodes)) if nodes else ""
        if not lacking:
            return
        found.append(f"partition {name}: {lacking}")
    if found:
        yield Problem("; ".join(found), ASK_FOR_LESS)


def _may_exceed(job: Job, site: Site) -> bool:
    """Whether the job names a quality of service, which may lift a partition's limits of nodes and time."""
    return bool(job.resources.qos) or SCHEDULERS[site.scheduler].has_option(job.resources.sbatch, "--qos", "-q")
