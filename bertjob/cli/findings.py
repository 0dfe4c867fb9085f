"""Findings of doctor on one screen: a sign that reads without colour, what was found, and the remedy below it."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertjob.cluster.doctor.finding import Finding, Level
from bertjob.cluster.doctor.launching import ASIDE

_SIGNS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warn": ("!", "bold yellow"),
    "fail": ("✗", "bold red"),
}
_CHECK_COLUMN = 14


def report(what: str, sections: Mapping[str, Iterable[Finding]]) -> RenderableType:
    """All findings, a section after the other, and how many are yellow and red."""
    parts: list[RenderableType] = [Text.assemble(("bertjob doctor", "bold"), f"  {what}")]
    for name, found in sections.items():
        parts.append(Text(f"\n{name}", style="bold"))
        parts.append(_table(found))
    parts.append(_summary([finding.level for found in sections.values() for finding in found]))
    return Group(*parts)


def _table(found: Iterable[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(width=_CHECK_COLUMN, no_wrap=True)
    table.add_column(overflow="fold")
    before = ""
    for finding in found:
        sign, style = ("·", "dim") if finding.check == ASIDE else _SIGNS[finding.level]
        text = Text(finding.finding, style="" if finding.level != "fail" else "bold")
        if finding.remedy:
            text.append(f"\n→ {finding.remedy}", style="not bold cyan")
        table.add_row(Text(sign, style), Text(finding.check if finding.check != before else "", style="dim"), text)
        before = finding.check
    return table


def _summary(levels: list[Level]) -> Text:
    words: dict[Level, str] = {"fail": "in the way", "warn": "to look at", "ok": "well"}
    said = [
        (f"{_SIGNS[level][0]} {levels.count(level)} {word}", _SIGNS[level][1])
        for level, word in words.items()
        if level in levels
    ]
    joined = Text("\n")
    for position, (text, style) in enumerate(said):
        joined.append("   " * bool(position)).append(text, style)
    return joined
