"""The embedded Slurm as a fixture: installed when it may be, else skipped with instructions, never skipped in CI."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from slurm import lab as slurm_lab  # the folder beside this file


def unavailable(what: str) -> NoReturn:
    """Skip; in CI fail, because there a skipped cluster test would hide a broken job script."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the cluster tests: {what}")
    pytest.skip(what)


def require(packages: dict[str, str], purpose: str) -> None:
    """Install the Debian packages of missing commands when this process may, else skip and say how."""
    if not packages:
        return
    names = sorted(set(packages.values()))
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        unavailable(
            f"{purpose} needs Debian's packages: sudo apt-get install --no-install-recommends {' '.join(names)}"
        )
    print(f"\ninstalling for {purpose}: {' '.join(names)}", file=sys.stderr)
    try:
        slurm_lab.install(names)
    except slurm_lab.LabError as error:
        unavailable(f"{purpose}: {error}")


@pytest.fixture(scope="session")
def lab() -> Iterator[slurm_lab.Lab]:
    """A running cluster of four nodes for the whole session; its own, whatever other test runs do."""
    require(slurm_lab.missing(), "the embedded Slurm")
    if os.geteuid() != 0:
        unavailable("the embedded Slurm needs root: namespaces, a bridge and mounts; run the tests with sudo")
    with slurm_lab.free_slot() as slot:
        lab = slurm_lab.Lab(slot)
        try:
            lab.start()
        except (slurm_lab.LabError, OSError) as error:
            lab.stop()
            unavailable(f"the embedded Slurm did not start: {error}")
        try:
            yield lab
        finally:
            lab.stop()


@pytest.fixture
def cluster(lab: slurm_lab.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> slurm_lab.Lab:
    """The cluster as a user on its login node sees it: Slurm's commands work, the index is the test's own."""
    for name in tuple(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(lab.shape.slurm_conf))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return lab
