"""What holds for all tests: who shares a worker, no skips in CI but for a GPU, real data."""

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from disks import mounted
from xdist.scheduler import LoadScopeScheduling

from bertjob.formats.squad import SquadSet, read_squad

pytest_plugins = ["faults_table"]
_CLUSTER = "tests/on_slurm/"
# Workers and the ranks they start share the cores: a thread that waits must not keep one from the others.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs: our children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Together(LoadScopeScheduling):
    """Tests of a file stay with one worker, for they share what it sets up once; so do all that share the cluster.

    (xdist's own groups are read from ids that pytest 9.2 no longer lets it write.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _CLUSTER if file.startswith(_CLUSTER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """Two workers share the tests, see the Makefile."""
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: the cluster, then the files with slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(_CLUSTER), item.path not in slow))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures where nothing may be missing."""
    report = yield
    optional = item.get_closest_marker("gpu") or item.get_closest_marker("acceptance")  # the latter's table says why
    if report.skipped and os.environ.get("CI") == "true" and optional is None:
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


@pytest.fixture(scope="session")
def squad_dev(test_data: Path) -> SquadSet:
    """The whole dev set of SQuAD v1.1."""
    return read_squad(test_data / "squad" / "dev-v1.1.json")


@pytest.fixture
def small_disk() -> Generator[Callable[[Path, int], Path]]:
    """Makes a folder a real disk of so many KiB."""
    with contextlib.ExitStack() as disks:
        yield lambda folder, kib: disks.enter_context(mounted(folder, kib))
