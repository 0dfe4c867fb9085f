"""``bertjob ask``: a trained model answers questions, highlighted in their paragraphs."""

import click

from bertjob.cli import options
from bertjob.cli.options import json_option
from bertjob.config.registry.tasks import MODELS
from bertjob.errors import DataError
from bertjob.rundir.directory import RunDir

_SHOWN = 3
"""Answers of a run that has just ended."""


@click.command("ask")
@click.argument("run", metavar="RUN", shell_complete=options.complete_runs)
@click.option(
    "--start", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="First dev question."
)
@click.option(
    "--count", type=click.IntRange(min=1), default=3, show_default=True, metavar="N", help="How many of them."
)
@click.option("--question", metavar="Q", help="A question of your own; goes with --context.")
@click.option("--context", metavar="FILE", help="Text file with the paragraph that holds the answer; - is stdin.")
@json_option
def verb(run: str, start: int, count: int, question: str | None, context: str | None, as_json: bool) -> None:
    """Let a trained model answer questions.

    RUN is the name of a run or its folder. The questions are those of the run's dev set, or one of your own.
    """
    if (question is None) != (context is None):
        raise click.UsageError("--question and --context go together", click.get_current_context())
    if question is not None and not question.strip():
        raise click.UsageError("--question: a question is wanted, got nothing", click.get_current_context())
    from bertjob.cli.progress import showing_answers
    from bertjob.cluster.preflight import check_installed
    from bertjob.cluster.runs.catalog import run_folder
    from bertjob.cluster.training import answers

    run_dir = run_folder(run)
    check_installed("asking", dict.fromkeys(MODELS, "train"))
    own = [f"--question={question}", f"--context-file={context}"]
    with showing_answers() as show_progress:
        found = answers(run_dir, [f"--start={start}", f"--count={count}"] if question is None else own, show_progress)
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(found).decode())
        return
    from bertjob.cli.output import show
    from bertjob.cli.tables import answer_text

    for answer in found:
        show(answer_text(answer), end="\n\n")


def print_first(run_dir: RunDir) -> None:
    """Print the first answers of a finished run, highlighted in their paragraphs."""
    from bertjob.cli.output import prose
    from bertjob.cli.tables import answer_text
    from bertjob.cluster.training import answers

    try:
        shown = answers(run_dir, ["--start", "0", "--count", str(_SHOWN)])
    except DataError as error:  # e.g. trained in a container, and no torch on this side
        prose().print(f"no answers are shown: {error}", markup=False)
        return
    for answer in shown:
        prose().print(answer_text(answer), end="\n\n")
