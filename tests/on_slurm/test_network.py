"""The network on a real Slurm: what the ranks use, a wrong interface in one line whoever starts them, and strangers."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, nodes_of, wait_for_step

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
    first, *more = said.splitlines()
    assert first.endswith(f" starts on {host} (start 1)")
    assert more == [f"bertjob: {host} has no network interface hsn9 (fabric.interface of site mine)"]


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


def listeners(process: int, port: int) -> list[str]:
    """The addresses at which something on the node of a process listens at a port."""
    found = []
    for table, size in (("tcp", 4), ("tcp6", 16)):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            address, _, number = line.split()[1].partition(":")
            if line.split()[3] == "0A" and int(number, 16) == port:  # TCP_LISTEN
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, 2 * size, 8)]
                found.append(socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, b"".join(words)))
    return found


@pytest.mark.fault(
    "stranger on another node, by {launcher}",
    survived="undisturbed",
    lost="nothing",
    reported="a warning of a stranger",
)
@pytest.mark.parametrize(
    "launcher",
    ["srun", *(pytest.param(name, marks=pytest.mark.faults) for name in ("torchrun", "openmpi", "deepspeed"))],
)
def test_a_stranger_on_another_node_changes_nothing_and_is_shown_no_secret(
    bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    site = bertjob.site("mine", launcher=launcher, env=AS_ROOT)
    job_id = bertjob("submit", tiny(60), "--site", site, "--nodes", 2, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 3)
    first, second = nodes_of(cluster, job_id)
    other = next(node for node in cluster.nodes if node not in (first, second))
    rank, *_ = [pid for pid, words in cluster.processes(first).items() if words[1:4] == ["-u", "-m", "bertjob.train"]]
    env = dict(line.split("=", 1) for line in Path(f"/proc/{rank}/environ").read_text().split("\0") if "=" in line)
    assert listeners(rank, int(env["MASTER_PORT"])) == [cluster.shape.address(first)]
    assert env["BERTJOB_SECRET_FILE"].startswith(f"{run.logs}/.secret-")
    assert not Path(env["BERTJOB_SECRET_FILE"]).exists()
    program = str(Path(__file__).parents[1] / "train" / "strangers.py")
    where = (cluster.shape.host(first), env["MASTER_PORT"], str(run.path), job_id)
    came = cluster.on_node(other, sys.executable, program, *where)
    assert came.returncode == 0, came.stderr
    bertjob("wait", job_id)
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", 60)
    assert not (run.path.parent / "code-ran").exists()
    shown = subprocess.run(["scontrol", "show", "job", job_id], capture_output=True, text=True, check=True).stdout
    assert "secret" not in shown
