"""The network on a real Slurm: what the ranks use, a wrong interface in one line whoever starts them, and strangers."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, nodes_of, wait_for_step

from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import read_proof
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


@pytest.mark.parametrize("interface", [None, "eth0"])
def test_an_interface_whose_first_address_leads_nowhere(
    bertjob: Face, cluster: Lab, tmp_path: Path, interface: str | None
) -> None:
    """A virtual address or an alias comes first: gloo, told an interface, takes that one."""
    nodes = cluster.nodes[:2]
    for node in nodes:
        own = f"{cluster.shape.address(node)}/24"
        for change in (("add", "192.168.121.122/32"), ("del", own), ("add", own)):
            assert cluster.on_node(node, "ip", "addr", *change, "dev", "eth0").returncode == 0
    site = bertjob.site("mine", fabric={"interface": interface} if interface else {})
    try:
        words = ("--nodes", 2, "--run-dir", "run", "--wait", "--", "-w", ",".join(map(cluster.shape.host, nodes)))
        bertjob("submit", "smoke", "--site", site, *words)
    finally:
        for node in nodes:
            cluster.on_node(node, "ip", "addr", "del", "192.168.121.122/32", "dev", "eth0")
    assert read_proof(RunDir(tmp_path / "run").proof) is not None


@contextlib.contextmanager
def names_forgotten(cluster: Lab, nodes: Sequence[int], first: str = "") -> Iterator[None]:
    """Inside, some nodes resolve no name of a node, as without DNS; `first` is what they have for the first one."""
    hosts = cluster.shape.folder / "no-hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{first}\n")
    for node in nodes:
        cluster.on_node(node, "mount", "--bind", str(hosts), "/etc/hosts")
    try:
        yield
    finally:
        for node in nodes:
            cluster.on_node(node, "umount", "/etc/hosts")


@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
@pytest.mark.parametrize(
    "nodes", [pytest.param((1, 2), id="everywhere"), pytest.param((2,), id="elsewhere", marks=pytest.mark.faults)]
)
def test_where_no_name_resolves_slurms_own_address_leads_to_the_first_node(
    bertjob: Face, cluster: Lab, launcher: str, nodes: tuple[int, ...]
) -> None:
    where = ",".join(cluster.shape.host(node) for node in cluster.nodes[:2])
    with names_forgotten(cluster, nodes):
        site = bertjob.site("mine", launcher=launcher)
        bertjob("submit", "smoke", "--site", site, "--nodes", 2, "--run-dir", "run", "--wait", "--", "-w", where)


@pytest.mark.fault(
    "no way to the first node, by {launcher}",
    survived="no: the job fails",
    lost="nothing",
    reported="one line, by the rank that cannot reach rank 0",
)
@pytest.mark.parametrize("launcher", ["srun", "torchrun"])
def test_no_route_to_the_first_node_is_one_line_of_the_rank_that_has_none(
    bertjob: Face, cluster: Lab, tmp_path: Path, launcher: str
) -> None:
    first, other = map(cluster.shape.host, cluster.nodes[:2])
    site = bertjob.site("mine", launcher=launcher, env={"BERTJOB_CONNECT_SECONDS": "30"})
    with names_forgotten(cluster, cluster.nodes[1:2], f"192.0.2.1 {first}"):
        words = ("--nodes", 2, "--run-dir", "run", "--wait", "--", "-w", f"{first},{other}")
        done = bertjob("submit", "smoke", "--site", site, *words, code=1)
    said = [line for line in done.stderr.splitlines() if " failed: " in line]
    assert len(said) == 1
    assert f"rank 1 ({other}): cannot reach rank 0 at {first}:" in said[0]
    assert "unreachable" in said[0] or "No route" in said[0]
