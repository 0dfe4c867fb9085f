"""What holds for all tests: in CI a test that is skipped has failed, but for those that need a GPU; real data."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs: our children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures where nothing may be missing."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.get_closest_marker("gpu") is None:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real SQuAD files."""
    folder = os.environ.get("BERTJOB_TEST_DATA")
    if not folder:
        pytest.skip("needs real SQuAD: set BERTJOB_TEST_DATA to a folder with squad/dev-v1.1.json and vocab.txt")
    return Path(folder)
