"""The table of `make acceptance`: a line as each row is known, and the sum at the end."""

import re

import pytest

_HEAD = ("engine", "what", "result", "time")


class Matrix:
    """Writes the table in place of pytest's dots.

    Args:
        config: pytest's, whose reporter still shows how rows failed.
        lines: what to say before.
    """

    def __init__(self, config: pytest.Config, lines: tuple[str, ...]) -> None:
        self.config = config
        self.lines = lines
        self.widths = (len(_HEAD[0]), len(_HEAD[1]))
        self.left = ""
        self.counts = {"passed": 0, "failed": 0, "not tried": 0}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Begin the table."""
        rows = [names(item) for item in session.items]
        self.widths = tuple(max(map(len, column)) for column in zip(_HEAD[:2], *rows, strict=True))
        for line in self.lines:
            self._line(line)
        self._write(*_HEAD)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        """No dots: a row is a line."""
        counts = report.when == "call" or not report.passed
        return (report.outcome if counts else "", "", "")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the row of a test that is over."""
        said = dict(report.user_properties)
        if "what" not in said or (report.when != "call" and report.passed):
            return
        result = {"passed": "passed", "skipped": "not tried"}.get(report.outcome, "failed")
        self.counts[result] += 1
        why = f": {_reason(report)}" if result == "not tried" else ""
        self._write(str(said["engine"]), str(said["what"]), result + why, f"{report.duration:.0f} s")

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self) -> None:
        """The sum, in a line."""
        parts = [f"{count} {result}" for result, count in self.counts.items() if count]
        self._line(f"rows: {', '.join(parts) or 'none'}")
        if self.left:
            self._line(f"left for a look, to be removed by you: {self.left}")

    def _write(self, engine: str, what: str, *rest: str) -> None:
        first, second = self.widths
        self._line(" | ".join((engine.ljust(first), what.ljust(second), *rest)))

    def _line(self, text: str) -> None:
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        assert reporter is not None
        reporter.write_line(text)


def names(item: pytest.Item) -> tuple[str, str]:
    """Engine and what of a row."""
    marker = item.get_closest_marker("row")
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return str(parameters.get("engine", "")), str(marker.args[0]).format_map(parameters) if marker else item.name


def _reason(report: pytest.TestReport) -> str:
    """Why a row was not tried: the last part of (file, line, "Skipped: why")."""
    return re.sub(r"^Skipped: ", "", str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr))
