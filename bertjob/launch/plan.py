"""From a job and a site to a plan: everything that the script says, decided and checked, nothing done yet."""

import posixpath
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from bertjob.config.checks.batch_size import solve
from bertjob.config.job import Job
from bertjob.config.load import dump
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.registry.tasks import TASKS
from bertjob.config.site import Site
from bertjob.config.yaml import Origin
from bertjob.launch import checks
from bertjob.launch.argv import Word, parse, variable
from bertjob.launch.auto_launcher import explanation
from bertjob.launch.container import binds, container, preparation, with_gpus
from bertjob.launch.engines import ENGINES
from bertjob.launch.environment import OWN, exports, says_values
from bertjob.launch.input_paths import needs
from bertjob.launch.launchers import Start, launch
from bertjob.launch.problems import Problem, find_problems
from bertjob.launch.resolve import Here, Shape, asked, resolve, shape
from bertjob.launch.schedulers import SCHEDULERS, Scheduler

__all__ = ["Here", "Layer", "Plan", "plan"]

RUN = variable("RUN")
"""The run directory, in the script."""
RUNS = variable("RUNS")
"""The folder that it is in."""
_NOWHERE: Mapping[str, Origin] = {}


class Layer(msgspec.Struct, frozen=True):
    """One part of the command: the launcher around the engine around the program.

    Attributes:
        words: the words, maybe none.
        note: why they are as they are; maybe on several lines.
    """

    words: tuple[Word, ...]
    note: str = ""


class Plan(msgspec.Struct, frozen=True):
    """How one job starts at one site.

    Attributes:
        job: the resolved job: engine, launcher, resources and paths are all said.
        site: where it runs.
        run_dir: absolute path of the run directory; None: the script makes ``runs/NAME-JOBID`` where it is submitted.
        shape: engine, launcher and the numbers of nodes, ranks, GPUs and cores.
        accumulation: micro batches that each rank adds up before one optimizer step.
        options: options that go to the scheduler as they are: the job's, nodes to leave out, jobs to wait for.
        environment: variables that the script exports, in order.
        layers: launcher, engine and program.
        files: lines of the script that make ready what launcher and engine want to find.
        inputs: files and folders that must be there beforehand, by the key that names them.
        warnings: lines for people: what works, but may not be meant.
        problems: what stops the job in any case, e.g. an image without bertjob; `submit` refuses it.
        site_given: the name or file by which the user names the site, for commands in messages.
    """

    job: Job
    site: Site
    run_dir: str | None
    shape: Shape
    accumulation: int
    options: tuple[str, ...]
    environment: Mapping[str, Word]
    layers: tuple[Layer, Layer, Layer]
    files: str
    inputs: Mapping[str, str]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]
    site_given: str

    @property
    def world_size(self) -> int:
        """Ranks over all nodes."""
        return self.shape.world_size

    @property
    def scheduler(self) -> Scheduler:
        """What the site's scheduler means for plan and script."""
        return SCHEDULERS[self.site.scheduler]

    @property
    def engine(self) -> str:
        """Name of the container engine."""
        return self.shape.engine

    @property
    def image(self) -> str | None:
        """The image, as the engine names it."""
        return self.job.image.ref

    @property
    def summary(self) -> str:
        """What the ranks do, in a few words: how they share a batch, or that they train nothing."""
        return TASKS[self.job.task].summary(self.job, self.accumulation, self.world_size)

    @property
    def private(self) -> bool:
        """The files of the run say values of variables, so that only their owner may read them."""
        return says_values(self.job, self.site)

    @property
    def job_file(self) -> str:
        """Text of the run directory's job.yaml, for submit, which writes it, and the script, where submit did not."""
        return dump(self.job)


def plan(
    job: Job,
    site: Site,
    run_dir: str | None,
    here: Here,
    site_given: str | None = None,
    said: Mapping[str, Origin] = _NOWHERE,
) -> Plan:
    """Decide how a job starts at a site.

    Args:
        job: what to train.
        site: where.
        run_dir: absolute path of the run directory; None: the script makes one when it runs.
        here: facts of this machine.
        site_given: the name or file by which the user names the site (default: its name).
        said: where the keys of the job were said, for messages about them.

    Raises:
        PreflightError: the job cannot work there; one line with all that stands against it.
        SpecError: the job could not train anywhere: the batch arithmetic does not come out even, the data are not
            said, a walltime is none and the like.
    """
    whole = resolve(job, site, here)
    checks.refuse(whole, site, said)
    if run_dir is not None:
        checks.refuse_run_dir(run_dir, whole, site)
    form = shape(whole)
    threads = SCHEDULERS[site.scheduler].cores(form.cpus_per_task)
    environment = with_gpus(whole, exports(whole, site, threads))
    start = Start(
        nodes=form.nodes,
        tasks_per_node=form.tasks_per_node,
        cpus_per_task=form.cpus_per_task,
        variables=(*environment, *OWN),
        python=_python(whole, site, here),
        mpi=site.mpi,
        interface=site.fabric.interface,
        srun_mpi=whole.srun_mpi or "none",
    )
    launched = launch(form.launcher, start)
    chosen = (job.launcher or site.launcher) == "auto"
    why = explanation(replace(whole, launcher="auto", srun_mpi=job.srun_mpi), site) if chosen else launched.note
    seen = binds(whole, site, RUNS, here.linked, _known(run_dir, here))
    checks.refuse_links(seen, whole, site)
    told = container(whole, site, environment, seen, RUN, RUN)
    prepared = preparation(form.engine, told, ("RUN", "RUNS"), private=says_values(whole, site))
    gpus_said = job.resources.gpus_per_node is not None or site.defaults.gpus_per_node is not None
    return Plan(
        job=whole,
        site=site,
        run_dir=run_dir,
        shape=form,
        accumulation=_accumulation(whole, form.world_size),
        options=whole.resources.sbatch,
        environment=environment,
        layers=(
            Layer(launched.words, why),
            Layer(ENGINES[form.engine].start(told), _note(form)),
            Layer((*launched.python, "bertjob.train", RUN + "/job.yaml")),
        ),
        files="\n".join(filter(None, (launched.files, prepared))),
        inputs={need.key: need.path for need in needs(whole) if isinstance(need.path, str) and not need.written},
        warnings=(*asked(job.resources, site, here).notes, *checks.warnings(whole, site, gpus_said)),
        problems=tuple(find_problems(whole, site, site_given or site.name)),
        site_given=site_given or site.name,
    )


def _known(run_dir: str | None, here: Here) -> dict[str, str]:
    """Values of variables in the script; that of RUNS only where the run directory is known beforehand."""
    runs = {} if run_dir is None else dict.fromkeys(RUNS.references, posixpath.dirname(run_dir))
    return {name: value for name, value in here.environment.items() if name not in RUNS.references} | runs


def _note(form: Shape) -> str:
    engine = ENGINES[form.engine]
    return (engine.note_at_terminal if LAUNCHERS[form.launcher].terminal else "") or engine.note


def _accumulation(job: Job, world_size: int) -> int:
    """Micro batches of one step; 1 for a task that takes no steps."""
    return solve(job.train.global_batch, job.train.micro_batch, world_size) if TASKS[job.task].trains else 1


def _python(job: Job, site: Site, here: Here) -> Word:
    """The Python of the overlay, the site, this machine or the image, whichever comes first."""
    if job.engine != "none" and job.image.overlay:
        return parse(job.image.overlay) + "/bin/python"
    if site.python:
        return parse(site.python)
    return here.python if job.engine == "none" else "python3"
