"""The table of injected faults: what each test marked ``fault`` has seen, printed at the end of ``make faults``.

A row is what the marker says, with the test's parameters in braces; a test that fails has a row that says so. With
``--faults-table FILE`` the rows are kept in FILE as well, beside those of tests that did not run.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

_HEAD = "| fault | survived | lost | reported | time |"
_ROW = re.compile(r"\| (.*?) \|.*\|")
_COLUMNS = ("survived", "lost", "reported")
_INTRODUCTION = """\
# Faults

Each row is a test that injects a fault into a real run and checks what the row says: on a real four-node Slurm, with
real launchers and engines. `make faults` runs all of them, `make test` one of each kind. Whatever goes on trains to its
end as if nothing had happened: the same steps, and the same losses where the row says "nothing". Times are of the whole
test, training included, on two cores.

"""


class Table:
    """Rows of this test run."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the row of a test that is over."""
        said = dict(report.user_properties)
        if report.when != "call" or "fault" not in said:
            return
        known = [said[column] if report.passed else "**failed**" for column in _COLUMNS]
        self.rows[str(said["fault"])] = row(str(said["fault"]), *map(str, known), f"{report.duration:.0f} s")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
        """Print the table, and keep it where it is wanted."""
        if not self.rows:
            return
        terminalreporter.section("faults")
        terminalreporter.write_line(table(self.rows))
        if file := config.getoption("--faults-table"):
            path = Path(file)
            path.write_text(_INTRODUCTION + table(kept(path) | self.rows), encoding="utf-8")


def row(*cells: str) -> str:
    """One line of the table."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def table(rows: Mapping[str, str]) -> str:
    """The whole table, sorted by faults."""
    return "\n".join([_HEAD, "|---|---|---|---|---|", *(rows[fault] for fault in sorted(rows))]) + "\n"


def kept(path: Path) -> dict[str, str]:
    """The rows of an earlier run, by their faults."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = [(match[1], line) for line in lines if (match := _ROW.fullmatch(line)) and not line.startswith(_HEAD[:8])]
    return dict(found)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that keeps the table."""
    parser.addoption("--faults-table", metavar="FILE", default="", help="keep the table of faults in FILE")


def pytest_configure(config: pytest.Config) -> None:
    """Make the table in the process that hears of all tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Table(), "faults-table")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Write the row of a test into its properties, which xdist's workers send along."""
    marker = item.get_closest_marker("fault")
    if marker is None:
        return
    called = getattr(item, "callspec", None)
    words = {name: getattr(value, "__name__", value) for name, value in (called.params if called else {}).items()}
    item.user_properties.append(("fault", str(marker.args[0]).format_map(words)))
    item.user_properties.extend((column, str(marker.kwargs[column]).format_map(words)) for column in _COLUMNS)
