"""Ranks that are cut off from each other, while Slurm hears all of its nodes: a cable of the fabric is pulled.

The store is on the network of Slurm or on the fabric; the first node, where rank 0 is, is cut off or another one.
Such a job waited for TCP to give up, a quarter of an hour, before ranks showed each other that they live; mpirun and
mpiexec.hydra, which wait for their daemons on the other nodes, had to be ended by hand.
"""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpi
import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, nodes_of, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir
from slurm import conf

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS = 100
MPI = {
    "openmpi": ("openmpi", "openmpi4", ["--mca", "plm", "rsh"]),
    "openmpi 5": ("openmpi", "openmpi5", ["--prtemca", "plm", "ssh"]),
    "openmpi-srun": ("openmpi-srun", "openmpi4", None),
    "hydra": ("hydra", "mpich", ["-launcher", "ssh"]),
}
"""By name in the table of faults: launcher, library, and the words by which its daemons are started by ssh."""
DAEMONS = re.compile(r"orted|prted|hydra_pmi_proxy|bertjob\.train")
"""What a start has on the nodes."""

Site = Callable[..., Path]


@pytest.fixture
def site(bertjob: Face, libraries: dict[str, dict[str, str]], request: pytest.FixtureRequest) -> Site:
    """A function that writes the site with a launcher, e.g. ``openmpi over ssh``."""

    def write(name: str, **keys: Any) -> Path:
        kind, _, over_ssh = name.partition(" over ")
        if kind not in MPI:
            return bertjob.site("site", launcher=kind, **keys)
        launcher, library, words = MPI[kind]
        env, facts = libraries[library], mpi.FACTS[library]
        if over_ssh:
            env = env | {"PATH": f"{request.getfixturevalue('ssh')}:{env.get('PATH', '$PATH')}"}
            facts = facts | {"args": words}
        return bertjob.site("site", launcher=launcher, env=env, mpi=facts, **keys)

    return write


@pytest.fixture
def fabric(cluster: Lab) -> Iterator[Lab]:
    """The cluster, whose nodes have a second network."""
    with cluster.fabric():
        yield cluster


def of_the_start(cluster: Lab, nodes: list[int]) -> dict[int, list[str]]:
    """The ranks on some nodes, and the daemons of their launcher."""
    there = {pid: words for node in nodes for pid, words in cluster.processes(node).items()}
    return {pid: words for pid, words in there.items() if DAEMONS.search(" ".join(words))}


@pytest.mark.fault(
    "node {node} cut off the fabric, store on the network of {store}, by {launcher}",
    survived="goes on by itself",
    lost="steps since the checkpoint, computed again",
    reported="which ranks have not been heard of",
)
@pytest.mark.parametrize(
    ("launcher", "store", "node"),
    [
        ("srun", "fabric", 2),
        ("openmpi", "fabric", 2),
        *(
            pytest.param(launcher, store, node, marks=pytest.mark.faults)
            for launcher in ("srun", "torchrun", "openmpi", "hydra")
            for store in ("fabric", "slurm")
            for node in (1, 2)
            if (launcher, store, node) not in (("srun", "fabric", 2), ("openmpi", "fabric", 2))
        ),
        *(
            pytest.param(launcher, "fabric", node, marks=pytest.mark.faults)
            for launcher in ("openmpi 5", "openmpi over ssh", "openmpi 5 over ssh", "hydra over ssh", "openmpi-srun")
            for node in (1, 2)
        ),
    ],
)
def test_a_job_that_is_cut_off_from_a_node_starts_again_from_its_checkpoint(
    bertjob: Face, tiny: Tiny, fabric: Lab, site: Site, launcher: str, store: str, node: int
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    network = {"interface": "eth1"} | ({"host_suffix": conf.FABRIC_SUFFIX} if store == "fabric" else {})
    job = tiny(STEPS, checkpoint={"every_steps": 5})
    path = site(launcher, fabric=network)
    job_id = bertjob("submit", job, "--site", path, "--nodes", 2, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 8)
    nodes = nodes_of(fabric, job_id)
    first_start = of_the_start(fabric, nodes)
    assert len(first_start) >= 2
    fabric.pull(nodes[node - 1])
    until(lambda: restarts(job_id) == 1)
    fabric.pull(nodes[node - 1], plugged=True)
    until(lambda: not first_start.items() & of_the_start(fabric, nodes).items())
    bertjob("wait", job_id)
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"
    metrics = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, STEPS + 1))
    log = run.log(job_id).read_text(errors="replace")
    assert re.search(r"rank [01] on nid\d+ has not been heard of for \d0 s: the network between is down", log)
    assert "the next start goes on from step-" in log


@pytest.mark.faults
@pytest.mark.fault(
    "rank {rank} stopped by SIGSTOP, by {launcher}",
    survived="goes on by itself",
    lost="steps since the checkpoint, computed again",
    reported="which rank has not been heard of",
)
@pytest.mark.parametrize("launcher", ["srun", "openmpi", "openmpi over ssh", "hydra", "torchrun"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_with_a_rank_that_hangs_starts_again_from_its_checkpoint(
    bertjob: Face, tiny: Tiny, cluster: Lab, site: Site, launcher: str, rank: int
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    job = tiny(STEPS, checkpoint={"every_steps": 5})
    job_id = bertjob("submit", job, "--site", site(launcher), "--nodes", 2, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 8)
    nodes = nodes_of(cluster, job_id)
    first_start = of_the_start(cluster, nodes)
    there = cluster.processes(nodes[rank])
    (hung,) = (pid for pid, words in there.items() if words[1:4] == ["-u", "-m", "bertjob.train"])
    os.kill(hung, signal.SIGSTOP)
    until(lambda: restarts(job_id) == 1)
    until(lambda: not first_start.items() & of_the_start(cluster, nodes).items())
    bertjob("wait", job_id)
    metrics = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, STEPS + 1))
    assert f"rank {rank} on " in run.log(job_id).read_text(errors="replace")
