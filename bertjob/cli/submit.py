"""``bertjob submit``: check a job and hand it to the scheduler."""

import json
import sys
from pathlib import Path

import click
import msgspec

from bertjob.cli.options import Request, SbatchCommand, job_options, json_option
from bertjob.launch.checks import refuse_submit
from bertjob.launch.plan import Plan
from bertjob.launch.script import script
from bertjob.spec.layout import RUNS


@click.command("submit", cls=SbatchCommand)
@job_options(default_site="generic")
@click.option("--dry-run", is_flag=True, help="Check, and print the script in place of submitting it.")
@click.option("--wait", "waits", is_flag=True, help="Return when the job has ended, with its success as exit code.")
@json_option
def verb(request: Request, dry_run: bool, waits: bool, as_json: bool) -> None:
    """Check a job and submit it to the site's scheduler.

    The last line of stdout is the job's id. Everything after -- goes to sbatch as it is.
    """
    from bertjob.cluster.doctor.advice import excluding, left_out, said_of, unproved
    from bertjob.cluster.preflight import check, check_continues
    from bertjob.cluster.rundir import new_run_dir, of
    from bertjob.cluster.submit import submit

    job, site = request.load()
    refuse_submit(site.value)
    run_dir = request.run_dir or str(new_run_dir(Path(RUNS), job.value.name).path)
    plan = request.plan(str(Path(run_dir).absolute()))
    if bad := left_out(plan):
        click.echo(said_of(bad, plan.site.name), err=True)
        more = excluding(plan.job.resources.sbatch, bad)
        plan = msgspec.structs.replace(request, sbatch=(*request.sbatch, *more)).plan(plan.run_dir)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    if dry_run:
        check(plan)
        check_continues(plan, of(plan))
        text = script(plan)
        sys.stdout.write(json.dumps({"script": text, "run_dir": plan.run_dir}) + "\n" if as_json else text)
        return
    submitted = submit(plan)
    if doubt := unproved(plan):
        click.echo(doubt, err=True)
    log = submitted.run_dir.log(submitted.job_id)
    click.echo(f"{plan.job.name} at {plan.site.name}: {_summary(plan)}", err=True)
    click.echo(f"run directory {submitted.run_dir.path}\nlog           {log}", err=True)
    if as_json:
        click.echo(json.dumps({"job_id": submitted.job_id, "run_dir": str(submitted.run_dir.path), "log": str(log)}))
    else:
        click.echo(submitted.job_id)
    if waits:
        from bertjob.cli.wait import wait_for
        from bertjob.cluster import runs

        sys.stdout.flush()
        wait_for([runs.find(str(submitted.run_dir.path))])


def _summary(plan: Plan) -> str:
    train, shape = plan.job.train, plan.shape
    engine = "without a container" if shape.engine == "none" else f"in {shape.engine}"
    nodes = f"{shape.nodes} node{'s' * (shape.nodes > 1)}"
    ranks = f"{shape.tasks_per_node} rank{'s' * (shape.tasks_per_node > 1)}"
    return (
        f"{nodes} x {ranks} by {shape.launcher}, {engine}, "
        f"batch {train.global_batch} = {train.micro_batch} x {plan.accumulation} x {plan.world_size}"
    )
