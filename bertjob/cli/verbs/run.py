"""``bertjob run``: the job here and now, in the foreground."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import cast

import click

from bertjob.cli.options import Request, job_options, json_option
from bertjob.cli.streams import exact
from bertjob.cli.terminal import saying_when_stopped
from bertjob.config.registry.code import load_code
from bertjob.config.registry.tasks import TASKS, TaskRow
from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError
from bertjob.launch.checks import refuse_here
from bertjob.launch.script import script
from bertjob.rundir.directory import RUNS, RunDir
from bertjob.rundir.resume import command
from bertjob.rundir.state import read_state


@click.command("run")
@job_options(default_site="local")
@click.option("--dry-run", is_flag=True, help="Check, and print the script in place of running it.")
@json_option
def verb(request: Request, dry_run: bool, as_json: bool) -> None:
    """Run a job here and now, in the foreground.

    The last line of stdout is the run directory. Ctrl-C writes a checkpoint and stops; the same --run-dir goes on from
    there.
    """
    from bertjob.cluster.runs.create import new_run_dir

    loaded = request.load()
    refuse_here(loaded.site.value)
    run_dir = RunDir(Path(request.run_dir).absolute()) if request.run_dir else new_run_dir(Path(RUNS), loaded.name)
    plan = loaded.plan(run_dir.path)
    for warning in plan.warnings:
        click.echo(f"warning: {warning}", err=True)
    from bertjob.cluster.local import check_start, run_here

    if dry_run:
        check_start(plan)
        text = script(plan)
        exact(json.dumps({"script": text, "run_dir": str(run_dir.path)}) + "\n" if as_json else text)
        return

    from bertjob.cli.progress import showing

    goes_on = "the job goes on: fg shows it again, bertjob cancel stops it"
    with saying_when_stopped(goes_on), showing(run_dir) as (on_text, on_notice):
        code = run_here(plan, on_text, on_notice)
    if code == REQUEUE_EXIT_CODE:
        stopped = "with a checkpoint" if run_dir.latest.exists() else "before the first checkpoint"
        click.echo(f"stopped {stopped}; resume with: {command(run_dir)}", err=True)
    elif code:
        state = read_state(run_dir.state)
        why = state.error if state is not None and state.error else f"exit code {code}"
        kept = f" from {run_dir.latest.read_text().strip()}" if run_dir.latest.exists() else ""
        click.echo(f"resume{kept} with: {command(run_dir)}", err=True)
        raise BertjobError(f"{loaded.name} failed: {why} (log: {run_dir.log('local')})")
    else:
        _show_result(run_dir, TASKS[plan.job.task])
    state = read_state(run_dir.state)
    listed = [metric.name for metric in TASKS[plan.job.task].metrics]
    metrics = {} if state is None else {name: state.metrics.get(name) for name in listed}
    click.echo(json.dumps({"run_dir": str(run_dir.path), **metrics}) if as_json else str(run_dir.path))
    if code:
        raise click.exceptions.Exit(code)


def _show_result(run_dir: RunDir, task: TaskRow) -> None:
    """Some results of the trained model, where its task shows any, and the metrics."""
    state = read_state(run_dir.state)
    if state is None or not state.metrics:
        return
    from bertjob.cli.output import prose

    if task.examples is not None:
        cast("Callable[[RunDir], object]", load_code(task.examples))(run_dir)
    shown = [metric for metric in task.metrics if metric.name in state.metrics]
    prose().print("  ".join(f"{one.words} [bold]{state.metrics[one.name]:.{one.digits + 1}f}[/]" for one in shown))
