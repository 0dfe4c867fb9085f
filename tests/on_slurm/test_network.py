"""The interface of the fabric on a real Slurm: what the ranks use, and a wrong one in one line whoever starts them."""

from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.mark.parametrize("launcher", ["srun", "torchrun", "openmpi", "openmpi-srun", "hydra"])
def test_a_wrong_interface_of_the_site_is_one_line_with_every_launcher(
    bertjob: Face, cluster: Lab, tmp_path: Path, launcher: str
) -> None:
    site = bertjob.site("mine", launcher=launcher, env=AS_ROOT, fabric={"interface": "hsn9"})
    done = bertjob("submit", "smoke", "--site", site, "--nodes", 2, "--run-dir", "run", "--wait", code=1)
    said = RunDir(tmp_path / "run").log(done.stdout.splitlines()[-1]).read_text()
    host = cluster.shape.host(cluster.nodes[0])
    assert said == f"bertjob: {host} has no network interface hsn9 (fabric.interface of site mine)\n"


def test_ranks_say_over_which_interface_they_talk(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    site = bertjob.site("mine", fabric={"preset": "slingshot", "interface": "eth0"})
    done = bertjob("submit", "smoke", "--site", site, "--nodes", 2, "--run-dir", "run", "--wait")
    run = RunDir(tmp_path / "run")
    state = read_state(run.state)
    assert state is not None
    assert state.network.startswith("gloo over eth0 (")
    assert state.warning == ""
    assert f"\n{state.network}\n" in run.log(done.stdout.splitlines()[-1]).read_text()


def test_a_wrong_interface_of_the_job_is_named_by_the_ranks(bertjob: Face, cluster: Lab, tmp_path: Path) -> None:
    site = bertjob.site("mine", env={"GLOO_SOCKET_IFNAME": "hsn9"})
    done = bertjob("submit", "smoke", "--site", site, "--nodes", 2, "--run-dir", "run", "--wait", code=1)
    said = RunDir(tmp_path / "run").log(done.stdout.splitlines()[-1]).read_text()
    assert "GLOO_SOCKET_IFNAME=hsn9: no such interface with an address here; there are " in said
    state = read_state(RunDir(tmp_path / "run").state)
    assert state is not None
    assert "GLOO_SOCKET_IFNAME=hsn9" in state.error
