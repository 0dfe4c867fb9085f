"""Ranks that are cut off from each other, while Slurm hears all of its nodes: a cable of the fabric is pulled.

The store is on the network of Slurm or on the fabric; the first node, where rank 0 is, is cut off or another one.
Such a job waited for TCP to give up, a quarter of an hour, before ranks showed each other that they live.
"""

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, nodes_of, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir
from slurm import conf

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
STEPS = 100


@pytest.fixture
def fabric(cluster: Lab) -> Iterator[Lab]:
    """The cluster, whose nodes have a second network."""
    with cluster.fabric():
        yield cluster


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
        *(
            pytest.param(launcher, store, node, marks=pytest.mark.faults)
            for launcher in ("srun", "torchrun")  # mpirun itself waits for its daemons on the other nodes
            for store in ("fabric", "slurm")
            for node in (1, 2)
            if (launcher, store, node) != ("srun", "fabric", 2)
        ),
    ],
)
def test_a_job_that_is_cut_off_from_a_node_starts_again_from_its_checkpoint(
    bertjob: Face, tiny: Tiny, fabric: Lab, launcher: str, store: str, node: int
) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    network = {"interface": "eth1"} | ({"host_suffix": conf.FABRIC_SUFFIX} if store == "fabric" else {})
    site = bertjob.site("site", launcher=launcher, env=AS_ROOT, fabric=network)
    job = tiny(STEPS, checkpoint={"every_steps": 5})
    job_id = bertjob("submit", job, "--site", site, "--nodes", 2, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 8)
    lost = nodes_of(fabric, job_id)[node - 1]
    fabric.pull(lost)
    until(lambda: restarts(job_id) == 1)
    fabric.pull(lost, plugged=True)
    bertjob("wait", job_id)
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"
    metrics = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, STEPS + 1))
    log = run.log(job_id).read_text()
    assert re.search(r"rank [01] on nid\d+ has not been heard of for \d0 s: the network between is down", log)
    assert "the next start goes on from step-" in log


@pytest.mark.faults
@pytest.mark.fault(
    "rank {rank} stopped by SIGSTOP, by {launcher}",
    survived="goes on by itself",
    lost="steps since the checkpoint, computed again",
    reported="which rank has not been heard of",
)
@pytest.mark.parametrize("launcher", ["srun", "openmpi", "torchrun"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_job_with_a_rank_that_hangs_starts_again_from_its_checkpoint(
    bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str, rank: int
) -> None:
    run, site = RunDir(bertjob.folder / "runs" / "run"), bertjob.site("site", launcher=launcher, env=AS_ROOT)
    job = tiny(STEPS, checkpoint={"every_steps": 5})
    job_id = bertjob("submit", job, "--site", site, "--nodes", 2, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 8)
    there = cluster.processes(nodes_of(cluster, job_id)[rank])
    (hung,) = (pid for pid, words in there.items() if words[1:4] == ["-u", "-m", "bertjob.train"])
    os.kill(hung, signal.SIGSTOP)
    until(lambda: restarts(job_id) == 1)
    bertjob("wait", job_id)
    metrics = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in metrics if "loss" in line] == list(range(1, STEPS + 1))
    assert f"rank {rank} on " in run.log(job_id).read_text()
