"""``bertjob ask``: a trained model answers questions, highlighted in their paragraphs."""

import click

from bertjob.cli import options
from bertjob.cli.options import json_option


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
    from bertjob.cluster.preflight import NEEDED_BY_MODELS, check_installed
    from bertjob.cluster.runs.catalog import run_folder
    from bertjob.cluster.training import answers

    run_dir = run_folder(run)
    check_installed("asking", NEEDED_BY_MODELS)
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
