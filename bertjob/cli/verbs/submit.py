"""``bertjob submit``: check jobs and hand them to the scheduler."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from bertjob.cli.options import Names, Request, SbatchCommand, job_options, json_option, refuse_strangers
from bertjob.config.search import phases
from bertjob.errors import of_job
from bertjob.launch.checks import refuse_submit
from bertjob.launch.plan import Plan
from bertjob.launch.script import script
from bertjob.rundir.directory import RUNS, RunDir

if TYPE_CHECKING:
    from bertjob.cluster.slurm.submit import Submitted


@click.command("submit", cls=SbatchCommand)
@job_options(default_site="generic")
@click.argument("more", metavar="[JOB...]", nargs=-1, type=Names("job"))
@click.option("--chain", is_flag=True, help="Submit several jobs, each to start from what the one before has trained.")
@click.option("--dry-run", is_flag=True, help="Check, and print the script in place of submitting it.")
@click.option("--wait", "waits", is_flag=True, help="Return when the job has ended, with its success as exit code.")
@json_option
def verb(request: Request, more: tuple[str, ...], chain: bool, dry_run: bool, waits: bool, as_json: bool) -> None:
    """Check a job and submit it to the site's scheduler.

    The last line of stdout is the job's id. Everything after -- goes to sbatch as it is. With --chain a job that fails
    cancels those after it, and stdout has a line for each; options are for all of them, and --set JOB:KEY.PATH=VALUE is
    for one. A name like pretrain is the chain of its phases, pretrain-seq128 and pretrain-seq512.
    """
    if more and not chain:
        raise click.UsageError(f"{len(more) + 1} jobs: say --chain, or submit them one by one")
    jobs = tuple(job for name in (request.job, *more) for job in phases(name) or [name])
    if (chain or len(jobs) > 1) and request.run_dir:
        raise click.UsageError("--run-dir is for one job: each of a chain has its own")
    plans = [_planned(link) for link in _links(request, jobs)]
    for warning in dict.fromkeys(warning for _, plan in plans for warning in plan.warnings):
        click.echo(f"warning: {warning}", err=True)
    if dry_run:
        _print_scripts([plan for _, plan in plans], as_json)
        return
    submitted = _submit([link for link, _ in plans])
    _tell(plans, submitted, as_json)
    if waits:
        from bertjob.cli.verbs.wait import wait_for
        from bertjob.cluster.runs import catalog

        sys.stdout.flush()
        wait_for([catalog.find(str(one.run_dir.path)) for one in submitted])


def _links(request: Request, chain: tuple[str, ...]) -> list[Request]:
    """A request for each job, with its run directory; each but the first begins with the model of the one before."""
    from bertjob.cluster.runs.create import new_run_dir

    links: list[Request] = []
    init = None
    refuse_strangers(request.settings, chain)
    for name in chain:
        one = replace(request, job=name, init=init, chain=chain)
        with of_job(name if len(chain) > 1 else None):
            job, site = one.load()
        refuse_submit(site.value)
        run_dir = Path(request.run_dir).absolute() if request.run_dir else new_run_dir(Path(RUNS), job.value.name).path
        links.append(replace(one, run_dir=str(run_dir)))
        init = str(RunDir(run_dir).model)
    return links


def _planned(link: Request) -> tuple[Request, Plan]:
    with of_job(link.job if len(link.chain) > 1 else None):
        return _left_out(link, link.plan(link.run_dir))


def _left_out(link: Request, plan: Plan) -> tuple[Request, Plan]:
    """The same without the nodes that failed a proof."""
    from bertjob.cli.launch_proof import launch_words
    from bertjob.cluster.doctor.advice import excluding, left_out, said_of

    bad = left_out(plan)
    if not bad:
        return link, plan
    click.echo(said_of(bad, launch_words(link)), err=True)
    without = replace(link, sbatch=(*link.sbatch, *excluding(plan.job.resources.sbatch, bad)))
    return without, without.plan(without.run_dir)


def _print_scripts(plans: list[Plan], as_json: bool) -> None:
    from bertjob.cluster.slurm.submit import check_chain

    check_chain(plans)
    for plan in plans:
        text = script(plan)
        sys.stdout.write(json.dumps({"script": text, "run_dir": plan.run_dir}) + "\n" if as_json else text)


def _submit(links: list[Request]) -> "list[Submitted]":
    from bertjob.cluster.slurm.submit import Link, submit_chain

    def planned(link: Request) -> Link:
        return lambda more: replace(link, sbatch=(*link.sbatch, *more)).plan(link.run_dir)

    return submit_chain([planned(link) for link in links])


def _tell(plans: list[tuple[Request, Plan]], submitted: "list[Submitted]", as_json: bool) -> None:
    from bertjob.cli.launch_proof import launch_words
    from bertjob.cluster.doctor.advice import unproved

    pairs = zip(plans, submitted, strict=True)
    doubts = (unproved(plan, one.image_digest, launch_words(link)) for (link, plan), one in pairs)
    for doubt in dict.fromkeys(filter(None, doubts)):
        click.echo(doubt, err=True)
    for (_, plan), one in zip(plans, submitted, strict=True):
        log = one.run_dir.log(one.job_id)
        click.echo(f"{plan.job.name} at {plan.site.name}: {_summary(plan)}", err=True)
        click.echo(f"run directory {one.run_dir.path}\nlog           {log}", err=True)
        said = {"job_id": one.job_id, "run_dir": str(one.run_dir.path), "log": str(log)}
        click.echo(json.dumps(said) if as_json else one.job_id)


def _summary(plan: Plan) -> str:
    shape = plan.shape
    engine = "without a container" if shape.engine == "none" else f"in {shape.engine}"
    nodes = f"{shape.nodes} node{'s' * (shape.nodes > 1)}"
    ranks = f"{shape.tasks_per_node} rank{'s' * (shape.tasks_per_node > 1)}"
    return f"{nodes} x {ranks} by {shape.launcher}, {engine}, {plan.summary}"
