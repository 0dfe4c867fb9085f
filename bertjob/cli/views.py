"""Tables and texts made from values; nothing here prints."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from bertjob.cluster.answers import Answer


def names_table(described: Mapping[str, str]) -> Table:
    """Names with one line of description each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, description in described.items():
        table.add_row(Text(name), Text(description))
    return table


def origins_table(rows: Iterable[tuple[str, Any, str]]) -> Table:
    """Key, value and origin; what nobody said is dimmed."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold", style="dim")
    for key, value, origin in rows:
        shown = "" if value is None or value in ({}, [], "") else str(value)
        table.add_row(Text(key), Text(shown), Text(origin), style="dim" if origin == "default" else None)
    return table


def answer_text(answer: Answer) -> Text:
    """A question, and its paragraph with the answer highlighted; in green when it is one that the data set gives."""
    right = not answer.gold or answer.answer in answer.gold
    context = Text(answer.context)
    context.stylize("black on green" if right else "black on yellow", answer.start, answer.end)
    # Brackets too, for those who see no colours.
    marked = Text.assemble(context[: answer.start], "[", context[answer.start : answer.end], "]", context[answer.end :])
    gold = Text("" if right else f"  (given: {' | '.join(dict.fromkeys(answer.gold))})", style="dim")
    return Text.assemble(
        ("Q  ", "bold"), (answer.question, "bold"), "\n", marked, "\n", ("A  ", "bold"), answer.answer, gold
    )
