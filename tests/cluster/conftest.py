"""The embedded Slurm as a fixture: installed when it may be, else skipped with instructions, never skipped in CI."""

import json
import os
import subprocess
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


class Face:
    """The command line as a user calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: object, code: int = 0, timeout: float = 150) -> "subprocess.CompletedProcess[str]":
        """Run ``bertjob WORDS`` and insist on its exit code."""
        command = [str(Path(sys.executable).with_name("bertjob")), *map(str, words)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False)
        assert done.returncode == code, f"{words} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def site(self, name: str, **keys: object) -> Path:
        """A site file: plain Slurm, changed by keys."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({"name": name, "scheduler": "slurm", "launcher": "srun", **keys}))  # JSON is YAML
        return path

    def job(self, name: str = "squad", **sections: object) -> Path:
        """A job file that asks for four nodes without GPUs."""
        path = self.folder / f"{name}-job.yaml"
        resources = {"nodes": 4, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}
        train = {"global_batch": 8, "micro_batch": 1}
        path.write_text(json.dumps({"name": name, "resources": resources, "train": train, **sections}))
        return path


@pytest.fixture
def bertjob(cluster: slurm_lab.Lab, tmp_path: Path) -> Face:
    """The command line on the cluster's login node, in an empty folder."""
    return Face(tmp_path)
