"""Tables and texts made from values; nothing here prints."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text

from bertjob.cluster.answers import Answer

_LEAST_FOR_VALUES = 12


def names_table(described: Mapping[str, str]) -> Table:
    """Names with one line of description each."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, description in described.items():
        table.add_row(Text(name), Text(description))
    return table


def origins_table(rows: Sequence[tuple[str, Any, str]], width: int) -> Table:
    """Key, value and origin; what nobody said is dimmed.

    Args:
        rows: dotted key, value and origin.
        width: characters a line. Values are folded into what keys and origins leave; where that is too little,
            origins lose the folders of their files.
    """
    room = width - max(len(key) for key, _, _ in rows) - _LEAST_FOR_VALUES - 2
    whole = all(len(origin) <= room for _, _, origin in rows)
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("key", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("from", no_wrap=True, style="dim")
    for key, value, origin in rows:
        place = Text(origin if whole else origin.rpartition("/")[2])
        table.add_row(Text(key), Text(_flow(value)), place, style="dim" if origin == "default" else None)
    return table


def _flow(value: Any) -> str:
    """A value as it stands in a job file, on one line; nothing for one that says nothing."""
    if value is None or value in ({}, (), ""):
        return ""
    if isinstance(value, dict | tuple):
        return yaml.safe_dump(value, default_flow_style=True, width=inf, sort_keys=False, allow_unicode=True).strip()
    return str(value).lower() if isinstance(value, bool) else str(value)


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
