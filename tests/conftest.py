"""What holds for all tests: who shares a worker, no skips in CI but for a GPU, real data."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

# Workers and the ranks they start share the cores: a thread that waits must not keep one from the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs: our children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say what stays together where two workers share the tests, and let them begin with what takes long.

    Tests on the cluster share its four nodes; those of a file share what it sets up once.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group("cluster" if _on_cluster(item) else item.path.name))
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not _on_cluster(item), item.path not in slow))


def _on_cluster(item: pytest.Item) -> bool:
    return item.path.parent.name == "cluster"


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
