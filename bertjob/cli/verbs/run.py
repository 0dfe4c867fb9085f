"""``bertjob run``: the job here and now, in the foreground."""

import json
import sys
from pathlib import Path

import click

from bertjob.cli.options import Request, job_options, json_option
from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError, DataError
from bertjob.launch.checks import refuse_here
from bertjob.launch.script import script
from bertjob.rundir.directory import RUNS, RunDir
from bertjob.rundir.resume import command
from bertjob.rundir.state import read_state

_SHOWN_ANSWERS = 3


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
        sys.stdout.write(json.dumps({"script": text, "run_dir": str(run_dir.path)}) + "\n" if as_json else text)
        return

    from bertjob.cli.progress import showing

    with showing(run_dir) as (on_text, on_notice):
        code = run_here(plan, on_text, on_notice)
    if code == REQUEUE_EXIT_CODE:
        stopped = "with a checkpoint" if run_dir.latest.exists() else "before the first checkpoint"
        click.echo(f"stopped {stopped}; to go on: {command(run_dir)}", err=True)
    elif code:
        state = read_state(run_dir.state)
        why = state.error if state is not None and state.error else f"exit code {code}"
        if run_dir.latest.exists():
            click.echo(f"to go on from {run_dir.latest.read_text().strip()}: {command(run_dir)}", err=True)
        raise BertjobError(f"{loaded.name} failed: {why} (log: {run_dir.log('local')})")
    else:
        _show_result(run_dir)
    state = read_state(run_dir.state)
    scores = {} if state is None else {"exact_match": state.exact_match, "f1": state.f1}
    click.echo(json.dumps({"run_dir": str(run_dir.path), **scores}) if as_json else str(run_dir.path))
    if code:
        raise click.exceptions.Exit(code)


def _show_result(run_dir: RunDir) -> None:
    """The scores, and some answers highlighted in their paragraphs."""
    state = read_state(run_dir.state)
    if state is None or state.exact_match is None or state.f1 is None:
        return
    from bertjob.cli.output import prose
    from bertjob.cli.tables import answer_text
    from bertjob.cluster.training import answers

    try:
        shown = answers(run_dir, ["--start", "0", "--count", str(_SHOWN_ANSWERS)])
    except DataError as error:  # e.g. trained in a container, and no torch on this side
        prose().print(f"no answers are shown: {error}", markup=False)
        shown = []
    for answer in shown:
        prose().print(answer_text(answer), end="\n\n")
    prose().print(f"exact match [bold]{state.exact_match:.2f}[/]  F1 [bold]{state.f1:.2f}[/]")
