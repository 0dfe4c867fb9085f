"""``bertjob submit``: check jobs and hand them to the scheduler."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bertjob.cli.options import Loaded, Names, Request, SbatchCommand, job_options, json_option
from bertjob.cli.streams import exact
from bertjob.config import walltime
from bertjob.config.search import phases
from bertjob.errors import SpecError, of_job
from bertjob.launch.checks import refuse_submit
from bertjob.launch.plan import Plan
from bertjob.launch.script import script
from bertjob.rundir.directory import RUNS
from bertjob.text import counted

if TYPE_CHECKING:
    from bertjob.cluster.runs.catalog import Run
    from bertjob.cluster.submit import Submitted


@click.command("submit", cls=SbatchCommand)
@job_options(default_site="generic")
@click.argument("more", metavar="[JOB...]", nargs=-1, type=Names("job"))
@click.option("--chain", is_flag=True, help="Submit several jobs, each to start from what the one before has trained.")
@click.option(
    "--dry-run", is_flag=True, help="Check, ask when it would start, and print the script in place of submitting it."
)
@click.option("--wait", "waits", is_flag=True, help="Return when the job has ended, with its success as exit code.")
@click.option(
    "--max-pending",
    metavar="TIME",
    help="Return when the (first) job starts; if it has not within this walltime, all are cancelled, with exit code 5.",
)
@json_option
def verb(
    request: Request,
    more: tuple[str, ...],
    chain: bool,
    dry_run: bool,
    waits: bool,
    max_pending: str | None,
    as_json: bool,
) -> None:
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
    limit = None if max_pending is None else _seconds(max_pending)
    loaded = request.load_chain(jobs)
    plans = _plans(loaded)
    for warning in dict.fromkeys(warning for plan in plans for warning in plan.warnings):
        click.echo(f"warning: {warning}", err=True)
    if dry_run:
        _print_scripts(plans, as_json)
        return
    from bertjob.cluster.submit import submit_chain

    submitted = submit_chain(plans)
    _tell(loaded, plans, submitted, as_json)
    sys.stdout.flush()
    runs = [one.run for one in submitted]
    over = limit is not None and _is_over_at_start(runs, limit)
    if waits or over:
        from bertjob.cli.verbs.wait import wait_for

        wait_for(runs if waits else runs[:1])


def _seconds(text: str) -> int:
    try:
        return walltime.parse(text)
    except SpecError as error:
        raise SpecError(f"--max-pending: {error}") from None


def _is_over_at_start(runs: "Sequence[Run]", limit: int) -> bool:
    """Wait until a job has started, the first one of a chain; whether it has ended since.

    Raises:
        PendingError: it has not within `limit` seconds, and is cancelled with those behind it.
    """
    from bertjob.cli.progress import showing_queue
    from bertjob.cluster.runs.pending import wait_for_start

    job_id, ids = runs[0].submission.job_id, " ".join(run.submission.job_id for run in runs)
    try:
        with showing_queue(runs[0].run_dir, job_id) as show:
            info = wait_for_start(runs, limit, show, partial(click.echo, err=True))
    except KeyboardInterrupt:
        stay, them = ("job", "stays"), "it"
        if len(runs) > 1:
            stay, them = ("jobs", "stay"), "them"
        click.echo(f"{stay[0]} {ids} {stay[1]} in the queue: bertjob cancel {ids} takes {them} out", err=True)
        raise
    if info.state.live:
        click.echo(f"job {job_id} has started{f' on {info.nodes}' if info.nodes else ''}", err=True)
    return not info.state.live


def _plans(chain: list[Loaded]) -> list[Plan]:
    """A plan for each job, with its run directory; each but the first begins with the model of the one before."""
    from bertjob.cluster.runs import create

    refuse_submit(chain[0].site.value)
    plans: list[Plan] = []
    for loaded in chain:
        folder = loaded.request.run_dir
        run_dir = Path(folder) if folder else create.new_run_dir(Path(RUNS), loaded.name).path
        begun = loaded.starting_from(str(create.of(plans[-1]).model)) if plans else loaded
        with of_job(loaded.file.given if len(chain) > 1 else None):
            plans.append(_without_bad_nodes(begun, begun.plan(run_dir)))
    return plans


def _without_bad_nodes(loaded: Loaded, plan: Plan) -> Plan:
    """The plan without the nodes that failed a proof."""
    from bertjob.cli.launch_proof import launch_words
    from bertjob.cluster.doctor.advice import left_out, said_of, without

    if bad := left_out(plan):
        click.echo(said_of(bad, launch_words(loaded)), err=True)
    return without(plan, bad)


def _print_scripts(plans: list[Plan], as_json: bool) -> None:
    from bertjob.cluster.scheduler import CLIENTS
    from bertjob.cluster.submit import check_chain

    check_chain(plans)
    for plan in plans:
        text = script(plan)
        if estimate := CLIENTS[plan.site.scheduler].estimate(text):
            click.echo(f"{plan.job.name}: {estimate}" if len(plans) > 1 else estimate, err=True)
        exact(json.dumps({"script": text, "run_dir": plan.run_dir}) + "\n" if as_json else text)


def _tell(chain: list[Loaded], plans: list[Plan], submitted: "list[Submitted]", as_json: bool) -> None:
    from bertjob.cli.launch_proof import launch_words
    from bertjob.cluster.doctor.advice import outdated, unproved
    from bertjob.cluster.scheduler import elsewhere

    doubts = [outdated(plan, one.image_digest) for plan, one in zip(plans, submitted, strict=True)]
    each = zip(chain, plans, submitted, strict=True)
    doubts += [unproved(plan, one.image_digest, launch_words(loaded)) for loaded, plan, one in each]
    for doubt in dict.fromkeys(filter(None, doubts)):
        click.echo(doubt, err=True)
    for plan, one in zip(plans, submitted, strict=True):
        log = one.run_dir.log(one.job_id)
        cluster = one.run.submission.cluster
        where = f", cluster {cluster}" if elsewhere(one.run) else ""
        click.echo(f"{plan.job.name} at {plan.site.name}{where}: {_summary(plan)}", err=True)
        click.echo(f"run directory {one.run_dir.path}\nlog           {log}", err=True)
        said = {"job_id": one.job_id, "cluster": cluster, "run_dir": str(one.run_dir.path), "log": str(log)}
        click.echo(json.dumps(said) if as_json else one.job_id)


def _summary(plan: Plan) -> str:
    shape = plan.shape
    engine = "without a container" if shape.engine == "none" else f"in {shape.engine}"
    nodes, ranks = counted(shape.nodes, "node"), counted(shape.tasks_per_node, "rank")
    return f"{nodes} x {ranks} by {shape.launcher}, {engine}, {plan.summary}"
