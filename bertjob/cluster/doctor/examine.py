"""Gather the facts of a case: the plan, the files, the image, this machine, and what was proved before."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bertjob.cluster import host, limit_checks
from bertjob.cluster.doctor import proofs
from bertjob.cluster.doctor.advice import combination
from bertjob.cluster.doctor.case import Case, Image, Typed
from bertjob.cluster.doctor.host_checks import cache_folders
from bertjob.cluster.host import programs
from bertjob.cluster.host.here import here
from bertjob.cluster.images import engine as images
from bertjob.cluster.input_checks import check_inputs, hub_problem
from bertjob.cluster.preflight import check_packages, missing_overlay
from bertjob.cluster.process import leftover
from bertjob.cluster.process_group import clean_environment
from bertjob.config.home import home
from bertjob.config.job import Job
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.site import Site
from bertjob.config.yaml import Origin
from bertjob.errors import BertjobError
from bertjob.launch.plan import Plan, plan
from bertjob.launch.resolve import placed, resolve

_IMAGE_S = 60.0
"""To start the image and load torch in it; a cold file system takes most of that."""
_NOWHERE: Mapping[str, Origin] = {}


def examine(
    job: Job, site: Site, run_dir: Path, typed: Typed, *, named: bool, said: Mapping[str, Origin] = _NOWHERE
) -> Case:
    """Ask everything; never raises for what is wrong with the job, the site or the machine.

    Args:
        job: what is to run.
        site: where.
        run_dir: where its run directory would be.
        typed: what the user said of the launch, for the remedies.
        named: the user named the job, so that its data are looked for.
        said: where the keys of the job were said.
    """
    facts = here()
    planned, refusal = None, ""
    try:
        job = placed(job, site, facts)  # the image is looked at also where no launcher can be chosen for it
        job = resolve(job, site, facts)
        planned = plan(job, site, str(run_dir), facts, typed.site, said)
    except BertjobError as error:
        refusal = str(error)
    without = None if planned is None else missing_overlay(planned)
    variables = dict(os.environ) | _literal(site.env) | _literal(job.env)
    at_home = str(home())
    folders = {"run directory": str(run_dir.parent), "home": at_home}
    folders |= {"scratch": scratch} if (scratch := os.environ.get("SCRATCH")) else {}
    folders |= {"data.cache": job.data.cache} if named and job.data.cache else {}
    folders |= cache_folders(variables, at_home)
    with ThreadPoolExecutor() as pool:
        looked = pool.submit(host.look, site, folders, tuple(filter(leftover, os.environ)), job.resources.sbatch)
        image = None if without else _image(job, site)
    machine, book = looked.result(), proofs.read()
    digest = None if image is None else image.digest
    about = None if planned is None else combination(planned, machine.scheduler.version, digest)
    return Case(
        job=job,
        site=site,
        machine=machine,
        typed=typed,
        named=named,
        plan=planned,
        refusal=refusal,
        problems=_problems(planned) if named and planned is not None else {},
        image=image,
        missing_overlay=without,
        hub=hub_problem(planned) if named and planned is not None else None,
        limits=() if planned is None else tuple(limit_checks.problems(planned)),
        root_refused=planned is not None and os.geteuid() == 0 and refuses_root(planned),
        proof=None if about is None else book.proof(about),
        bad_nodes=book.bad(site.name, job.engine or site.engine),
    )


def refuses_root(plan: Plan) -> bool:
    """Whether a plan's launcher needs words or variables by which root may run it, and they are missing."""
    site, program = plan.site, LAUNCHERS[plan.shape.launcher].program
    as_root = program.as_root if program else None
    if as_root is None or as_root.option in site.mpi.args:
        return False
    around, _ = programs.loaded(site)
    kept = around if plan.scheduler.inherits_environment else clean_environment(around)
    return any(plan.environment.get(name, kept.get(name)) != "1" for name in as_root.variables)


def _image(job: Job, site: Site) -> Image | None:
    engine, ref = job.engine or site.engine, job.image.ref
    if engine == "none" or ref is None:
        return None
    try:
        facts = images.inspect(job.image, site, engine, job.resources.gpus_per_node or 0, timeout=_IMAGE_S)
    except BertjobError as error:
        return Image(ref, error=str(error))
    return Image(ref, images.digest(engine, ref, site) or "", facts)


def _literal(variables: dict[str, str]) -> dict[str, str]:
    """Variables of a file as the job's shell would see them, as far as this one knows the names in them."""
    return {name: os.path.expandvars(value) for name, value in variables.items()}


def _problems(plan: Plan) -> dict[str, str]:
    """What is wrong with each file of the job, and with the packages; empty for what is there."""
    found = {}
    for key, path in plan.inputs.items():
        try:
            check_inputs({key: path}, plan.job)
            found[key] = ""
        except BertjobError as error:
            found[key] = str(error).removeprefix(f"{key}: ")
    try:
        check_packages(plan)
    except BertjobError as error:
        found["packages"] = str(error)
    return found
