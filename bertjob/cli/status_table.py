"""Where runs stand, as a table that keeps every number whole on a narrow terminal."""

from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest

import msgspec
from msgspec.structs import replace
from rich.cells import chop_cells
from rich.console import Group
from rich.text import Text

from bertjob.cluster.runs.status import Row
from bertjob.config.registry.tasks import metric
from bertjob.text import visible_line

_GAP = 2
_STYLES = {"running": "green", "completed": "bold green", "pending": "yellow", "failed": "red", "lost": "red"}


class _Column(msgspec.Struct, frozen=True):
    title: str
    cell: Callable[[Row], Text]
    right: bool = False


class _Filled(msgspec.Struct, frozen=True):
    """A column with its cells, the title first."""

    column: _Column
    cells: tuple[Text, ...]
    width: int

    @classmethod
    def of(cls, column: _Column, rows: Sequence[Row]) -> "_Filled":
        cells = (Text(column.title, style="dim"), *map(column.cell, rows))
        return cls(column, cells, max(cell.cell_len for cell in cells))

    def folded(self, width: int) -> "_Filled":
        """In lines of at most `width` characters."""
        if self.width <= width:
            return self
        cells = (Text("\n".join(chop_cells(cell.plain, width)), style=cell.style) for cell in self.cells)
        return _Filled(self.column, tuple(cells), width)


def status_table(rows: Sequence[Row], width: int) -> Group:
    """One line a run: where it stands, how fast, how old its heartbeat is.

    Args:
        rows: the runs.
        width: characters a line. Where they do not suffice, remarks go below the table, then columns that a person can
            do without are left out, then long names are folded; no number is cut.
    """
    rows = [_on_one_line(row) for row in rows]
    several = len({row.cluster for row in rows} - {""}) > 1 or any(row.elsewhere for row in rows)
    columns = (*(column for column in _COLUMNS if several or column is not _CLUSTER), *_metrics_columns(rows), _REMARK)
    filled = {column: _Filled.of(column, rows) for column in columns}
    shown = {column: found for column, found in filled.items() if not rows or any(found.cells[1:])}
    below: list[Text] = []
    for spare in (column for column in _GIVEN_UP if column in shown):
        if _width(shown.values()) <= width:
            break
        del shown[spare]
        if spare is _REMARK:
            below = [_below(row, remark) for row in rows if (remark := _remark(row))]
    others = _width([found for column, found in shown.items() if column is not _NAME]) + _GAP
    shown[_NAME] = shown[_NAME].folded(max(len(_NAME.title), width - others))
    return Group(*(_line(shown.values(), number) for number in range(len(rows) + 1)), *below)


def _on_one_line(row: Row) -> Row:
    """The row with visible control characters: what a cell shows is as wide as what was measured."""
    texts = {name: getattr(row, name) for name in ("job_id", "cluster", "name", "site", "state", "reason", "warning")}
    return replace(row, **{name: visible_line(text) for name, text in texts.items()})


def _line(columns: Collection[_Filled], number: int) -> Text:
    """One row, in as many lines as its longest cell has. For thousands of them rich's Table takes ten times as long."""
    cells = [filled.cells[number] for filled in columns]
    lines = [cell.split("\n") if "\n" in cell.plain else [cell] for cell in cells]
    row = Text(no_wrap=True, overflow="ignore")
    for parts in zip_longest(*lines, fillvalue=Text()):
        row.append("\n" if row else "")
        for filled, part in zip(columns, parts, strict=True):
            blank = " " * (filled.width - part.cell_len)
            row.append(blank if filled.column.right else "").append_text(part)
            row.append(("" if filled.column.right else blank) + " " * _GAP)
    row.rstrip()
    return row


def _below(row: Row, remark: Text) -> Text:
    """A line of its own, cut at the end of the terminal: the log has all of it."""
    return Text.assemble(f"{row.name}: ", remark, no_wrap=True, overflow="ellipsis")


def _width(columns: Collection[_Filled]) -> int:
    return sum(filled.width for filled in columns) + _GAP * (len(columns) - 1)


def _state(row: Row) -> Text:
    word = row.state if row.phase is None or row.state != "running" else row.phase
    return Text(word, style=_STYLES.get(row.state, ""))


def _step(row: Row) -> Text:
    return Text("" if row.step is None else f"{row.step}/{row.total_steps}")


def _metrics_columns(rows: Sequence[Row]) -> list[_Column]:
    """A column for each set of metrics that runs have: runs of one task share theirs."""
    return [_metrics_column(names) for names in dict.fromkeys(tuple(row.metrics) for row in rows) if names]


def _metrics_column(names: tuple[str, ...]) -> _Column:
    metrics = [metric(name) for name in names]

    def cell(row: Row) -> Text:
        of_these = tuple(row.metrics) == names
        return Text(" ".join(f"{row.metrics[one.name]:.{one.digits}f}" for one in metrics) if of_these else "")

    return _Column(" ".join(one.label for one in metrics), cell, right=True)


def _remark(row: Row) -> Text:
    if row.stale:
        return Text("no heartbeat: it may hang", style="red")
    if row.unsure:
        return Text("the heartbeat is old, or clocks differ: look again in two minutes", style="yellow")
    return Text(row.warning or row.reason, style="red" if row.warning or row.state in ("failed", "lost") else "dim")


def _number(value: float | None, digits: int) -> Text:
    return Text("" if value is None else f"{value:.{digits}f}")


def duration(seconds: float | None) -> str:
    """``42 s``, ``3:07`` or ``1:02:03``; nothing for None."""
    if seconds is None:
        return ""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}" if m else f"{s} s"


_ID = _Column("id", lambda row: Text("" if row.job_id == "local" else row.job_id))
_NAME = _Column("run", lambda row: Text(row.name))
_HEARTBEAT = _Column(
    "heartbeat", lambda row: Text(duration(row.heartbeat_seconds), style="bold red" * row.stale), right=True
)
_SITE = _Column("site", lambda row: Text(row.site))
_CLUSTER = _Column("cluster", lambda row: Text(row.cluster))
_LOSS = _Column("loss", lambda row: _number(row.loss, 3), right=True)
_SPEED = _Column("samples/s", lambda row: _number(row.samples_per_second, 1), right=True)
_ETA = _Column("ETA", lambda row: Text(duration(row.eta_seconds)), right=True)
_REMARK = _Column("", _remark)
_COLUMNS = (
    _ID,
    _CLUSTER,
    _NAME,
    _SITE,
    _Column("state", _state),
    _Column("step", _step, right=True),
    _LOSS,
    _SPEED,
    _ETA,
    _HEARTBEAT,
)
"""Those before the metrics and the remark."""
_GIVEN_UP = (_REMARK, _SITE, _SPEED, _LOSS, _ETA, _HEARTBEAT)
"""What a narrow table leaves out, the first one first."""
