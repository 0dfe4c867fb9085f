"""Tables and texts made from values; nothing here prints."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from bertjob.cluster.answers import Answer
from bertjob.cluster.status import Row


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


def status_table(rows: Iterable[Row]) -> Table:
    """One line a run: where it stands, how fast, how old its heartbeat is."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "run", "site", "state"):
        table.add_column(name, no_wrap=True, overflow="fold")
    for name in ("step", "loss", "samples/s", "ETA", "heartbeat"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        table.add_row(
            row.job_id,
            Text(row.name),
            Text(row.site),
            Text(
                row.state if row.phase is None or row.state != "running" else row.phase,
                style=_STYLES.get(row.state, ""),
            ),
            "" if row.step is None else f"{row.step}/{row.total_steps}",
            "" if row.loss is None else f"{row.loss:.3f}",
            "" if row.samples_per_second is None else f"{row.samples_per_second:.1f}",
            duration(row.eta_seconds),
            Text(duration(row.heartbeat_seconds), style="bold red" if row.stale else ""),
            Text(_remark(row), style="red" if row.warning or row.stale else "dim"),
        )
    return table


_STYLES = {"running": "green", "completed": "bold green", "pending": "yellow", "failed": "red", "lost": "red"}


def duration(seconds: float | None) -> str:
    """``42 s``, ``3:07`` or ``1:02:03``; nothing for None."""
    if seconds is None:
        return ""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}" if m else f"{s} s"


def _remark(row: Row) -> str:
    if row.f1 is not None and row.exact_match is not None:
        return f"EM {row.exact_match:.2f} F1 {row.f1:.2f}"
    if row.stale:
        return "no sign of life: it may hang"
    return row.warning or row.reason
