"""What would not work at a site, said before anything is queued."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import get_args

from bertjob.config import walltime
from bertjob.config.checks import compression, consistency, kernel
from bertjob.config.job import Family, Job
from bertjob.config.load import located
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.secret_values import is_secret
from bertjob.config.site import Site
from bertjob.config.yaml import Origin
from bertjob.errors import PreflightError, SpecError
from bertjob.launch import auto_launcher, environment
from bertjob.launch.argv import has_control_characters
from bertjob.launch.engines import Bind, limits
from bertjob.launch.resolve import shape
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.text import counted

_INTERFACE = re.compile(r"[\w.:@-]{1,15}", re.ASCII)
"""What Linux takes, without its stranger characters."""
_OF_A_KEY = re.compile(r"[a-z_.]+: ")
"""A complaint about what a key says; without the colon it is about what the site makes of it."""


def refuse(job: Job, site: Site, said: Mapping[str, Origin]) -> None:
    """Stop a resolved job that cannot work at the site.

    Args:
        job: the job.
        site: where it is to run.
        said: where the keys of the job were said, for the messages.

    Raises:
        SpecError: it could not train anywhere; one line with all that is wrong in itself.
        PreflightError: one line with all that stands against it at the site.
    """
    if wrong := list(consistency.problems(job)):
        raise SpecError("; ".join(located(line, said) for line in wrong))
    _refuse(_variables(job), [*_at_the_site(job, site), *_reserve(job, site)], site, said)


def refuse_shell(job: Job, site: Site, said: Mapping[str, Origin]) -> None:
    """Stop a shell that cannot be had at the site; whether its job could train is no matter.

    Args:
        job: the resolved job that it stands for.
        site: where it is to run.
        said: where the keys of the job were said.

    Raises:
        PreflightError: one line with all that stands against it.
    """
    _refuse(_variables(job), _at_the_site(job, site), site, said)


def _refuse(of_job: Iterable[str], at_site: Iterable[str], site: Site, said: Mapping[str, Origin]) -> None:
    """Stop where there are complaints; those about a key of the job name the place that said it, not the site."""
    lines = [(line, located(line, said) if _OF_A_KEY.match(line) else line) for line in at_site]
    found = [*(located(line, said) for line in of_job), *(where for line, where in lines if where != line)]
    if others := [line for line, where in lines if where == line]:
        found.append(f"site {site.name}: {'; '.join(others)}")
    if found:
        raise PreflightError("; ".join(found))


def _at_the_site(job: Job, site: Site) -> Iterator[str]:
    yield from _combination(job, site)
    yield from limits.problems(job, site)
    yield from _variables_of_site(site)
    yield from _interface(site)
    if SCHEDULERS[site.scheduler].queues:
        yield from _limits(job, site)
        yield from _options(job, site)


def refuse_here(site: Site) -> None:
    """Stop a run in the foreground at a site whose jobs a scheduler starts.

    Raises:
        PreflightError: one line.
    """
    if SCHEDULERS[site.scheduler].queues:
        raise PreflightError(f"site {site.name} has a scheduler: use bertjob submit, or run with --site local")


def refuse_submit(site: Site) -> None:
    """Stop a submission to a site without a scheduler.

    Raises:
        PreflightError: one line.
    """
    if not SCHEDULERS[site.scheduler].queues:
        raise PreflightError(f"site {site.name} has no scheduler: use bertjob run")


def refuse_run_dir(run_dir: str, job: Job, site: Site) -> None:
    """Stop a run directory whose path a job script or a container engine cannot take.

    Raises:
        PreflightError: one line.
    """
    reason = ""
    if not run_dir.startswith("/"):
        reason = "an absolute path is wanted"
    elif has_control_characters(run_dir):
        reason = "a control character cannot stand in a job script"
    elif wrong := SCHEDULERS[site.scheduler].run_dir_problem(run_dir):
        reason = wrong
    elif job.engine is not None:
        reason = limits.problem_of_path(run_dir, job.engine)
    if reason:
        raise PreflightError(f"run directory {run_dir!r}: {reason}")


def refuse_links(found: Iterable[Bind], job: Job, site: Site) -> None:
    """Stop a job of whose mounts the engine cannot make one.

    Args:
        found: all mounts; those that the job and the site name were looked at before.
        job: the resolved job.
        site: where it runs.

    Raises:
        PreflightError: one line.
    """
    if job.engine is not None and (wrong := limits.problem_of_links(found, job.engine)):
        raise PreflightError(f"site {site.name}: {wrong}")


def warnings(job: Job, site: Site, gpus_said: bool) -> Iterator[str]:
    """What works, but is seldom meant.

    Args:
        job: the resolved job.
        site: where it runs.
        gpus_said: whether the job or the site's defaults say a number of GPUs.
    """
    tasks, gpus = shape(job).tasks_per_node, shape(job).gpus_per_node
    yield from _without_effect(job, site)
    yield from _secrets(job)
    yield from compression.warnings(job, shape(job).nodes, shape(job).world_size)
    yield from kernel.advice(job)
    scheduler = SCHEDULERS[site.scheduler]
    if scheduler.queues and not gpus_said:
        yield "no GPUs are asked for, so this trains on CPUs: resources.gpus_per_node asks for some"
    if scheduler.has_walltime and job.resources.time is None:
        yield "no walltime is asked for, so the partition's own ends the job: resources.time sets one"
    if 0 < gpus < tasks:
        yield f"{tasks} ranks share {counted(gpus, 'GPU')} on each node; NCCL refuses two ranks on one GPU"
    if gpus > tasks:
        yield f"{gpus - tasks} of {gpus} GPUs on each node stay idle with resources.tasks_per_node {tasks}"


def _secrets(job: Job) -> Iterator[str]:
    for name in job.env:
        if is_secret(name):
            yield f"env.{name}: the value stands in files of the run; env_from: [{name}] takes it from your shell"


def _without_effect(job: Job, site: Site) -> Iterator[str]:
    """What a resolved job says and nothing will read; the site's image is there for jobs with another engine too."""
    if job.backend == "torch" and job.deepspeed:
        yield "deepspeed: backend torch does not read this section; backend: deepspeed does"
    for key in ("ref", "overlay"):
        if job.engine == "none" and getattr(job.image, key) not in (None, getattr(site.image, key)):
            yield f"image.{key}: engine none starts no container, so this is not read; say an engine as well"


def _combination(job: Job, site: Site) -> Iterator[str]:
    fitting = [name for name, row in LAUNCHERS.items() if row.works_under(site.scheduler)]
    if job.launcher not in fitting:
        where = SCHEDULERS[site.scheduler].where
        yield f"launcher {job.launcher} does not work {where}; these do: {', '.join(fitting)}"
    elif why := auto_launcher.refusal(job, site, shape(job).world_size):
        yield why
    if not SCHEDULERS[site.scheduler].queues and shape(job).nodes > 1:
        yield f"resources.nodes is {job.resources.nodes}, but without a scheduler there is this one machine"


def _variables(job: Job) -> Iterator[str]:
    yield from environment.problems("env", job.env)
    yield from environment.problems("env_from", job.env_from)
    for name in job.env_from:
        if name in job.env:
            yield f"env_from: {name} has a value in env already"


def _variables_of_site(site: Site) -> Iterator[str]:
    for key, section in (("the site's env", site.env), ("fabric.env", site.fabric.env)):
        yield from environment.problems(key, section)
    for family, section in site.fabric.mpi_env.items():
        yield from environment.problems(f"fabric.mpi_env.{family}", section)
        if family not in get_args(Family):
            yield f"fabric.mpi_env: {family!r} is no MPI family; there are {' and '.join(get_args(Family))}"


def _interface(site: Site) -> Iterator[str]:
    name = site.fabric.interface
    if name is not None and not _INTERFACE.fullmatch(name):
        yield f"fabric.interface: {name!r} is no name of one network interface, such as hsn0"


def _limits(job: Job, site: Site) -> Iterator[str]:
    asked, limits, time = shape(job), site.limits, job.resources.time
    cpus = asked.tasks_per_node * asked.cpus_per_task
    counts = (
        (f"resources.nodes is {asked.nodes}", asked.nodes, limits.nodes, "nodes a job"),
        (f"resources.gpus_per_node is {asked.gpus_per_node}", asked.gpus_per_node, limits.gpus_per_node, "GPUs a node"),
        (
            f"{asked.tasks_per_node} tasks_per_node x {asked.cpus_per_task} cpus_per_task is {cpus}",
            cpus,
            limits.cpus_per_node,
            "CPU cores a node",
        ),
    )
    for claim, value, limit, unit in counts:
        if limit is not None and value > limit:
            yield f"{claim}, but there are at most {limit} {unit}"
    if time is None:
        return
    if limits.time and walltime.parse(time) > walltime.parse(limits.time):
        yield f"resources.time is {time}, but a job may take at most {limits.time}"


def _reserve(job: Job, site: Site) -> Iterator[str]:
    time, reserve = job.resources.time, job.checkpoint.signal_seconds
    if SCHEDULERS[site.scheduler].has_walltime and time is not None and walltime.parse(time) <= reserve:
        yield f"resources.time is {time}, and checkpoint.signal_seconds {reserve} leaves nothing of it to train in"


def _options(job: Job, site: Site) -> Iterator[str]:
    asked = job.resources
    texts = (asked.partition, asked.account, asked.constraint, asked.qos, asked.reservation, asked.mem, *asked.sbatch)
    yield from (f"{text!r}: a control character cannot stand in an sbatch option" for text in texts if _broken(text))
    scheduler = SCHEDULERS[site.scheduler]
    yield from scheduler.option_problems(asked.sbatch)
    if job.env_from and (option := scheduler.closes_environment(asked.sbatch)):
        yield f"env_from: the sbatch option {option} would keep {', '.join(job.env_from)} from the job; leave it out"


def _broken(text: str | None) -> bool:
    return text is not None and has_control_characters(text)
