"""Findings of doctor on one screen: a sign that reads without colour, what was found, and the remedy below it."""

from collections.abc import Iterable, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bertjob.cluster.doctor.case import Finding, Level
from bertjob.cluster.doctor.launch_checks import ASIDE
from bertjob.rundir.proof import Proof
from bertjob.text import counted

_SIGNS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warn": ("!", "bold yellow"),
    "fail": ("✗", "bold red"),
}
_CHECK_COLUMN = 14
_SHOWN_RANKS = 16


def report(what: str, sections: Mapping[str, Iterable[Finding]]) -> RenderableType:
    """All findings, a section after the other, and how many are yellow and red."""
    parts: list[RenderableType] = [Text.assemble(("bertjob doctor", "bold"), f"  {what}")]
    for name, found in sections.items():
        parts.append(Text(f"\n{name}", style="bold"))
        parts.append(_table(found))
    parts.append(_summary([finding.level for found in sections.values() for finding in found]))
    return Group(*parts)


def proof_view(proof: Proof, about: str) -> RenderableType:
    """What a launch proof shows: who was there, how they talked, how fast."""
    ranks = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("rank", "host", "device", "clock"):
        ranks.add_column(name, justify="right" if name in ("rank", "clock") else "left")
    for rank in proof.ranks[:_SHOWN_RANKS]:
        ranks.add_row(str(rank.rank), Text(rank.host), Text(rank.device), f"{rank.clock_offset * 1e3:+.0f} ms")
    if len(proof.ranks) > _SHOWN_RANKS:
        ranks.add_row("…", f"and {len(proof.ranks) - _SHOWN_RANKS} more", "", "")
    sums = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("all-reduce", "time", "bandwidth"):
        sums.add_column(name, justify="right")
    for one in proof.all_reduces:
        sums.add_row(_bytes(one.bytes), f"{one.seconds * 1e3:.2f} ms", f"{one.bandwidth / 1e9:.3f} GB/s")
    talked = f", talking by {proof.transport}" if proof.transport else ""
    count = f"{len(proof.ranks)} ranks on {counted(len(proof.hosts), 'node')}"
    parts: list[RenderableType] = [
        Text.assemble(("✓ ", "green"), ("proved", "bold"), f"  {about}"),
        Text(f"  {count}{talked}; all see the same files", style="dim"),
        Text(""),
        ranks,
    ]
    parts += [Text(""), sums] if proof.all_reduces else []
    parts += [Text(f"! {warning}", style="yellow") for warning in proof.warnings]
    return Group(*parts)


def _bytes(number: int) -> str:
    """Powers of two, as the messages are."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.0f} {unit}"
    return f"{number} B"


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
