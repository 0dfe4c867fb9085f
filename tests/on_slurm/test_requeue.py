"""What Slurm takes back, it starts again: no script ends a job that is somebody else's by now.

A requeue, a preemption and a node that fails send a script the same TERM as ``bertjob cancel``; the job is back in the
queue at once. Whatever the fault, the launcher and the engine, the run must end as if nothing had happened.
"""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import containers
import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
STEPS = 100
NODES = "2"


def slurm(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def requeue(cluster: Lab, job_id: str) -> None:
    slurm("scontrol", "requeue", job_id)


def requeue_hold_and_release(cluster: Lab, job_id: str) -> None:
    slurm("scontrol", "requeuehold", job_id)
    until(
        lambda: "held" in slurm("squeue", "--noheader", f"--jobs={job_id}", "--format=%r").lower()
    )  # "job requeued in held state", or JobHeldUser
    slurm("scontrol", "release", job_id)


def preempt(grace: int) -> Callable[[Lab, str], None]:
    """A more urgent job needs the nodes; the partition gives this one so many seconds."""

    def by_urgent_job(cluster: Lab, job_id: str) -> None:
        slurm("scontrol", "update", "PartitionName=normal", f"GraceTime={grace}")
        slurm("sbatch", "--partition=urgent", "--nodes=4", "--exclusive", "--output=/dev/null", "--wrap=sleep 3")
        until(lambda: restarts(job_id) == 1)

    return by_urgent_job


def kill_a_nodes_daemon(cluster: Lab, job_id: str) -> None:
    """A node without the script is lost to Slurm, while its rank goes on."""
    script = slurm("squeue", "--noheader", f"--jobs={job_id}", "--format=%B")
    hosts = slurm("scontrol", "show", "hostnames", slurm("squeue", "--noheader", f"--jobs={job_id}", "--format=%N"))
    lost = next(host for host in hosts.split() if host != script)
    node = next(node for node in cluster.nodes if cluster.shape.host(node) == lost)
    (daemon,) = (pid for pid, words in cluster.processes(node).items() if words[:2] == ["slurmd", "-D"])
    os.kill(daemon, signal.SIGKILL)
    try:
        slurm("scontrol", "update", f"NodeName={lost}", "State=DOWN", "Reason=test")
        until(lambda: restarts(job_id) == 1)
    finally:
        cluster.crash(node)
        cluster.boot(node)
        # A node that has registered again may be up already, and then cannot be resumed.
        subprocess.run(["scontrol", "update", f"NodeName={lost}", "State=RESUME"], capture_output=True, check=False)


FAULTS: Mapping[str, Callable[[Lab, str], None]] = {
    "requeue": requeue,
    "requeuehold": requeue_hold_and_release,
    "grace 0": preempt(0),
    "grace 5": preempt(5),
    "grace 60": preempt(60),
    "slurmd": kill_a_nodes_daemon,
}
SITES: Mapping[str, Mapping[str, object]] = {
    "srun": {},
    "openmpi": {"launcher": "openmpi", "env": AS_ROOT},
    "torchrun": {"launcher": "torchrun"},
}
ENGINES = ("podman", "charliecloud", "sarus")


@pytest.fixture
def graced(cluster: Lab) -> Iterator[Lab]:
    """The cluster, whose partition has its own grace time again afterwards."""
    yield cluster
    slurm("scontrol", "update", "PartitionName=normal", "GraceTime=5")


def survives(bertjob: Face, cluster: Lab, job: Path, site: Path, fault: str) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    job_id = bertjob("submit", job, "--site", site, "--nodes", NODES, "--run-dir", run.path).stdout.split()[-1]
    wait_for_step(run, job_id, 3)
    FAULTS[fault](cluster, job_id)
    bertjob("wait", job_id)
    assert restarts(job_id) >= 1
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", STEPS)
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"
    steps = [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()]
    assert steps == sorted(steps)


KINDS = [("requeue", "srun"), ("requeuehold", "openmpi"), ("grace 0", "torchrun"), ("slurmd", "srun")]
REST = [(fault, launcher) for fault in FAULTS for launcher in SITES if (fault, launcher) not in KINDS]


@pytest.mark.fault(
    "{fault} of a job, by {launcher}",
    survived="goes on by itself",
    lost="nothing",
    reported="completed, with its restarts",
)
@pytest.mark.parametrize(
    ("fault", "launcher"), [*KINDS, *(pytest.param(*one, marks=pytest.mark.faults) for one in REST)]
)
def test_a_job_that_slurm_takes_back_finishes(
    bertjob: Face, tiny: Tiny, graced: Lab, fault: str, launcher: str
) -> None:
    survives(bertjob, graced, tiny(STEPS), bertjob.site("site", **SITES[launcher]), fault)


@pytest.mark.fault(
    "{fault} of a job in {engine}",
    survived="goes on by itself",
    lost="nothing",
    reported="completed, with its restarts",
)
@pytest.mark.faults
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_in_containers_that_slurm_takes_back_finishes(
    bertjob: Face, tiny: Tiny, graced: Lab, images: containers.Images, engine: str, fault: str
) -> None:
    keys = SITES["openmpi" if engine == "sarus" else "srun"]
    survives(
        bertjob, graced, tiny(STEPS), bertjob.site("site", engine=engine, **images.site_keys(engine), **keys), fault
    )


@pytest.mark.fault(
    "requeue of the first job of a chain", survived="both end", lost="nothing", reported="completed, both"
)
def test_a_chain_whose_first_job_is_requeued_goes_on(bertjob: Face, tiny: Tiny, cluster: Lab) -> None:
    site, job = bertjob.site("site"), tiny(STEPS)
    second = bertjob.folder / "second.yaml"
    second.write_text(json.dumps(json.loads(job.read_text()) | {"name": "second"}))
    done = bertjob("submit", job, second, "--chain", "--site", site, "--nodes", NODES)
    first, last = done.stdout.split()
    run = next((bertjob.folder / "runs").glob("squad-*"))
    wait_for_step(RunDir(run), first, 3)
    requeue(cluster, first)
    bertjob("wait", first, last)
    assert restarts(first) == 1


def test_a_cancelled_job_is_over_and_no_failure(bertjob: Face, tiny: Tiny, cluster: Lab) -> None:
    run = RunDir(bertjob.folder / "run")
    job_id = bertjob("submit", tiny(1_000_000), "--nodes", NODES, "--run-dir", "run").stdout.split()[-1]
    wait_for_step(run, job_id, 3)
    bertjob("cancel", job_id)
    bertjob("wait", job_id, code=1)
    assert (slurm("sacct", "-nXPo", "State", "-j", job_id).partition(" ")[0], restarts(job_id)) == ("CANCELLED", 0)
    assert run.latest.exists()
