"""Which resource limits of this shell a job would get, and is likely to reach: warned of before it is queued."""

import resource
from collections.abc import Iterator, Mapping

from bertjob.cluster import scheduler
from bertjob.cluster.resource_limits import LIMITS, Limit
from bertjob.config import walltime
from bertjob.launch.plan import Plan
from bertjob.launch.problems import Problem

_GIB = 1 << 30
_TOO_SMALL: Mapping[str, int] = {"open files": 256, "processes": 512, "stack size": 512 << 10}
"""Below these a training does not start: torch and its libraries open and start about as many."""
_WITHOUT_GPU = 16 * _GIB
"""Address space that torch takes on CPUs, with room for a model."""
_LARGEST_FILE = 5 * _GIB
"""A checkpoint of BERT-large with Adam's moments."""


def problems(plan: Plan) -> Iterator[Problem]:
    """Limits of this shell that the job would get, and that are likely to end it. The scheduler is asked if need be."""
    low = []
    for limit in LIMITS:
        soft, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{limit.rlimit}"))
        if soft != resource.RLIM_INFINITY and _is_low(limit.name, soft, plan):
            low.append((limit, soft, hard))
    handed_on = scheduler.CLIENTS[plan.site.scheduler].limits_handed_on(plan.options) if low else ()
    for limit, soft, hard in low:
        if limit.rlimit in handed_on:
            whose = "in this shell, and so in its jobs" if plan.scheduler.queues else "in this shell"
            yield Problem(f"{limit.told(soft)} {whose}, which may end this one", _remedy(limit, soft, hard, plan))


def _remedy(limit: Limit, soft: int, hard: int, plan: Plan) -> str:
    """A soft limit can be raised as far as the hard one, which does not travel."""
    ways = ["`-- --propagate=NONE`"] if plan.scheduler.queues else []
    if hard == resource.RLIM_INFINITY or hard > soft:
        most = "unlimited" if hard == resource.RLIM_INFINITY else str(hard // 1024 if limit.unit == "bytes" else hard)
        ways.insert(0, f"`ulimit -S {limit.option} {most}` first")
    return ", or ".join(ways) or "another shell, as this one may not raise it"


def _is_low(name: str, soft: int, plan: Plan) -> bool:
    """Whether a job of this plan is likely to reach a limit."""
    gpus = plan.shape.gpus_per_node > 0
    match name:
        case "cpu time":
            time = plan.job.resources.time if plan.scheduler.has_walltime else None
            return time is None or soft < walltime.parse(time) * plan.shape.cpus_per_task
        case "file size":
            return soft < _LARGEST_FILE
        case "address space" | "data size":  # CUDA reserves addresses for the memory of all GPUs and the host
            return gpus or soft < _WITHOUT_GPU
        case "locked memory":
            fast = plan.site.fabric.fast or plan.site.fabric.preset == "infiniband"
            return fast and plan.shape.nodes > 1 and soft < _GIB
        case _:
            return soft < _TOO_SMALL[name]
