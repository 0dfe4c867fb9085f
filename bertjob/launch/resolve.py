"""A job made whole: what it leaves open is filled from the site and from the facts of the login node."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec.structs import asdict, replace

from bertjob.config import walltime
from bertjob.config.checks import compression
from bertjob.config.job import Data, Image, Job, Launcher, Model, Resources
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.launch.argv import Text, parse
from bertjob.launch.auto_launcher import choose, host_family
from bertjob.launch.schedulers import SCHEDULERS

_RUN = "run:"
_PATH = re.compile(r"[/.~$]|.*/.*/")


class Here(msgspec.Struct, frozen=True):
    """Facts of the machine where the plan is made; plans read nothing themselves.

    Attributes:
        python: path of the Python that runs bertjob.
        cwd: absolute path that relative paths start from.
        cpus: CPU cores, for jobs that run here.
        gpus: GPUs, for jobs that run here.
        environment: variables that paths may name, HOME among them for ``~``.
        is_folder: whether there is a folder of this absolute path.
        run: folder of the model that a run has trained, by ``NAME`` or ``NAME@STEP``; raises SpecError.
        linked: folders that the symbolic links at and in an absolute path lead to.
    """

    python: str
    cwd: str
    cpus: int = 1
    gpus: int = 0
    environment: Mapping[str, str] = {}
    is_folder: Callable[[str], bool] = lambda path: False
    run: Callable[[str], str] = lambda name: name
    linked: Callable[[str], Iterable[str]] = lambda path: ()


class Shape(msgspec.Struct, frozen=True):
    """What a resolved job says for certain.

    Attributes:
        engine: container engine.
        launcher: what starts the ranks.
        nodes: nodes.
        tasks_per_node: ranks a node.
        gpus_per_node: GPUs a node.
        cpus_per_task: CPU cores a rank.
    """

    engine: str
    launcher: Launcher
    nodes: int
    tasks_per_node: int
    gpus_per_node: int
    cpus_per_task: int

    @property
    def world_size(self) -> int:
        """Ranks over all nodes."""
        return self.nodes * self.tasks_per_node


def shape(job: Job) -> Shape:
    """The shape of a resolved job."""
    asked = job.resources
    assert job.engine is not None
    assert job.launcher is not None
    assert asked.nodes is not None
    assert asked.tasks_per_node is not None
    assert asked.gpus_per_node is not None
    assert asked.cpus_per_task is not None
    return Shape(job.engine, job.launcher, asked.nodes, asked.tasks_per_node, asked.gpus_per_node, asked.cpus_per_task)


def resolve(job: Job, site: Site, here: Here) -> Job:
    """The same job with engine, launcher, image, transport, resources and absolute paths.

    Raises:
        PreflightError: a path names a variable that is not set here, or launcher auto finds none that works.
        SpecError: the walltime is none.
    """
    whole = placed(job, site, here)
    launcher, srun_mpi = choose(whole, site)
    return replace(
        whole,
        launcher=launcher,
        srun_mpi=srun_mpi,
        model=_model(job.model, here),
        data=_data(job.data, here),
        optimizer=compression.resolved(whole, site, host_family(site)),
        resources=_resources(job.resources, site, here),
    )


def placed(job: Job, site: Site, here: Here) -> Job:
    """The same job with the engine and the image that its launcher is chosen for.

    Raises:
        PreflightError: `image.source` names a variable that is not set here, or is no checkout.
    """
    return replace(job, engine=job.engine or site.engine, image=_image(job.image, site.image, here))


def names_a_folder(init: str, here: Here) -> bool:
    """Whether `model.init` is a path: it looks like one, or there is such a folder.

    A path begins with one of ``/.~$``, or has two slashes as no name on the hub has.
    """
    if init in ("random", "demo"):
        return False
    return _PATH.match(init) is not None or here.is_folder(posixpath.join(here.cwd, init))


def _image(job: Image, site: Image, here: Here) -> Image:
    """The site's image where the job names none; an overlay belongs to the image that it was made in."""
    source = _source(job.source or site.source, here)
    if job.ref is not None:
        return replace(job, source=source)
    mpi = job.mpi if job.mpi.family else site.mpi
    return replace(site, overlay=job.overlay or site.overlay, source=source, mpi=mpi)


def _source(path: str | None, here: Here) -> str | None:
    if path is None:
        return None
    folder = _absolute("image.source", path, here)
    if not here.is_folder(f"{folder}/bertjob"):
        raise PreflightError(f"image.source: {folder}: is no checkout of bertjob: it has no folder bertjob")
    return folder


def _model(model: Model, here: Here) -> Model:
    init = here.run(model.init.removeprefix(_RUN)) if model.init.startswith(_RUN) else model.init
    init = _absolute("model.init", init, here) if names_a_folder(init, here) else init
    vocab = None if model.vocab is None else _absolute("model.vocab", model.vocab, here)
    return replace(model, init=init, vocab=vocab)


def _data(data: Data, here: Here) -> Data:
    named = {key: value for key, value in asdict(data).items() if value not in (None, "demo")}
    return replace(data, **{key: _absolute(f"data.{key}", value, here) for key, value in named.items()})


def _absolute(key: str, path: str, here: Here) -> str:
    """The path with ``~`` and variables replaced, from the root, without ``.`` and ``..``."""
    word = parse("$HOME" + path[1:] if path == "~" or path.startswith("~/") else path)
    if isinstance(word, Text):
        if unset := [name for name in word.references if name not in here.environment]:
            raise PreflightError(f"{key}: {path}: ${unset[0]} is not set here; write the path out")
        word = word.replaced(here.environment)
    return posixpath.normpath(posixpath.join(here.cwd, word))


def _resources(job: Resources, site: Site, here: Here) -> Resources:
    said = {name: value for name, value in asdict(job).items() if value is not None}
    filled = Resources(**asdict(site.defaults) | said)
    on_this_machine = not SCHEDULERS[site.scheduler].queues
    gpus = filled.gpus_per_node
    if gpus is None:
        gpus = min(here.gpus, 1) if on_this_machine else 0
    tasks = filled.tasks_per_node or gpus or 1
    cores = here.cpus if on_this_machine else site.limits.cpus_per_node or 1
    options = site.defaults.sbatch
    already = job.sbatch[: len(options)] == options  # a resolved job, planned again
    sbatch = job.sbatch if already else options + job.sbatch
    return replace(
        filled,
        nodes=filled.nodes or 1,
        tasks_per_node=tasks,
        gpus_per_node=gpus,
        cpus_per_task=filled.cpus_per_task or max(1, cores // tasks),
        time=None if filled.time is None else walltime.render(walltime.parse(filled.time)),
        sbatch=sbatch + SCHEDULERS[site.scheduler].named_by_shell(sbatch, here.environment),
    )
