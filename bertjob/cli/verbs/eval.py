"""``bertjob eval``: score predictions by SQuAD's official rules."""

import json
import sys
from pathlib import Path

import click

from bertjob.cli.options import json_option
from bertjob.formats.squad import load
from bertjob.formats.squad_score import read_predictions, score

_NAMED = 5


@click.command("eval")
@click.option(
    "--data",
    "data",
    required=True,
    metavar="DEV.json",
    help="The questions with their answers; `demo` for bertjob's own.",
)
@click.argument("predictions", metavar="PREDICTIONS.json")
@json_option
def verb(data: str, predictions: str, as_json: bool) -> None:
    """Score predictions by SQuAD's official rules.

    PREDICTIONS.json maps question ids to answers, as a run's predictions.json does.
    """
    result = score(load(data, "dev"), read_predictions(Path(predictions)))
    for what, ids in (
        ("questions have no prediction and count 0", result.unanswered),
        ("predictions are for unknown questions and do not count", result.unknown),
        ("predictions stand more than once, and the last one counts", result.repeated),
        ("question ids stand more than once in the data and count each time", result.duplicated),
    ):
        if ids:
            print(f"{len(ids)} {what}: {_some(ids)}", file=sys.stderr)
    if as_json:
        click.echo(json.dumps({"exact_match": result.exact_match, "f1": result.f1, "total": result.total}))
    else:
        click.echo(f"exact match {result.exact_match:.2f}  F1 {result.f1:.2f}  questions {result.total}")


def _some(ids: tuple[str, ...]) -> str:
    return ", ".join(repr(each) for each in ids[:_NAMED]) + (
        f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    )
