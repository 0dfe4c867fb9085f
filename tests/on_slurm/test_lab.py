"""The embedded cluster itself: does it do what the other tests build on?"""

import subprocess
from pathlib import Path

import provision
import pytest
from slurm.lab import Lab

from slurm import lab as slurm_lab

pytestmark = pytest.mark.cluster


def said(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()


def test_four_nodes_have_their_own_names(cluster: Lab) -> None:
    assert sorted(said("srun", "-N4", "hostname")) == [cluster.shape.host(node) for node in cluster.nodes]


def test_shared_memory_is_a_nodes_own_and_files_are_shared(cluster: Lab, tmp_path: Path) -> None:
    said("srun", "-N4", "sh", "-c", f"echo $SLURM_PROCID >/dev/shm/lab; cat /dev/shm/lab >>{tmp_path}/all")
    assert sorted((tmp_path / "all").read_text().split()) == ["0", "1", "2", "3"]


def test_daemons_stop_and_come_back(cluster: Lab) -> None:
    for daemon in ("slurmdbd", "slurmctld"):
        cluster.stop_daemon(daemon)
        cluster.start_daemon(daemon)
    cluster.wait_idle()
    assert said("srun", "-N1", "hostname")


def test_what_a_killed_run_left_mounted_does_not_stop_the_next(cluster: Lab) -> None:
    """A test run that was killed during `podman import` left its store mounted; every later one failed by it."""
    with slurm_lab.free_slot() as slot:
        left = Lab(slot)
        store = left.shape.folder / "images" / "root" / "overlay"
        store.mkdir(parents=True)
        said("mount", "--bind", str(store), str(store))
        left.stop()
        assert not left.shape.folder.exists()


def test_what_is_missing_is_a_failure_in_ci_and_a_skip_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="CI must run"):
        provision.unavailable("apt-get install slurmd")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="apt-get install slurmd"):
        provision.unavailable("apt-get install slurmd")
