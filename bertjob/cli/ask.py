"""``bertjob ask``: a trained model answers questions, highlighted in their paragraphs."""

import click

from bertjob.cli.options import json_option


@click.command("ask")
@click.argument("run", metavar="RUN")
@click.option(
    "--start", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="First dev question."
)
@click.option(
    "--count", type=click.IntRange(min=1), default=3, show_default=True, metavar="N", help="How many of them."
)
@click.option("--question", metavar="Q", help="A question of your own; goes with --context.")
@click.option("--context", metavar="FILE", help="Text file with the paragraph that holds the answer.")
@json_option
def verb(run: str, start: int, count: int, question: str | None, context: str | None, as_json: bool) -> None:
    """Let a trained model answer questions.

    RUN is the name of a run or its folder. The questions are those of the run's dev set, or one of your own.
    """
    if (question is None) != (context is None):
        raise click.UsageError("--question and --context go together", click.get_current_context())
    own = ["--question", question, "--context-file", context] if question is not None and context is not None else None
    from bertjob.cluster.answers import answers
    from bertjob.cluster.runs import run_folder

    found = answers(run_folder(run), own or ["--start", str(start), "--count", str(count)])
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(found).decode())
        return
    from bertjob.cli.console import show
    from bertjob.cli.views import answer_text

    for answer in found:
        show(answer_text(answer), end="\n\n")
