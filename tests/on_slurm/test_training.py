"""Real training on four nodes of a real Slurm: `submit --wait` through each launcher, and what interrupts it.

The model is tiny and random, the questions are SQuAD's: what is tested is that four ranks find each other, write what
they promise, and go on after whatever a cluster does to them.
"""

import json
import subprocess
from pathlib import Path

import containers
import pytest
from face import Face
from slurm.lab import Lab
from training import Tiny, kill_training, restarts, wait_for_step
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HOSTILE = "run dir with 'quotes' and $(x)"
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def assert_four_ranks_trained(run: RunDir, cluster: Lab, job_id: str, steps: int = 8) -> None:
    """The world was four on all hands: in hparams.json, and in four logs from four hosts."""
    assert json.loads(run.hparams.read_text())["world_size"] == 4
    logs = [run.log(job_id, rank).read_text() for rank in range(4)]
    for rank, text in enumerate(logs):
        assert f"rank {rank} of 4" in text
    for node in cluster.nodes:
        assert sum(cluster.shape.host(node) in text for text in logs) >= 1
    reported = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["step"] for line in reported if "loss" in line] == list(range(1, steps + 1))
    assert {"exact_match", "f1"} <= json.loads(run.evaluation.read_text()).keys()
    assert len(json.loads(run.predictions.read_text())) == 16
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step, state.world_size) == ("done", steps, 4)


def test_four_nodes_through_srun_in_a_folder_with_a_hostile_name(
    bertjob: Face, tiny: Tiny, cluster: Lab, tmp_path: Path
) -> None:
    done = bertjob("submit", tiny(), "--nodes", 4, "--run-dir", HOSTILE, "--wait")
    job_id = done.stdout.splitlines()[-1]
    run = RunDir(tmp_path / HOSTILE)
    assert_four_ranks_trained(run, cluster, job_id)
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "completed"
    assert bertjob("logs", "-f", job_id).stdout == run.log(job_id).read_text()
    assert "rank 2 of 4" in bertjob("logs", HOSTILE, "--rank", 2).stdout
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".yaml") == [".cache", HOSTILE, "state"]


def test_four_nodes_through_the_hosts_mpirun(bertjob: Face, tiny: Tiny, cluster: Lab, tmp_path: Path) -> None:
    site = bertjob.site("mpi", launcher="openmpi", env=AS_ROOT)
    done = bertjob("submit", tiny(), "--site", site, "--run-dir", "run", "--wait")
    assert_four_ranks_trained(RunDir(tmp_path / "run"), cluster, done.stdout.splitlines()[-1])


def test_four_nodes_through_mpirun_in_containers_of_sarus(
    bertjob: Face, tiny: Tiny, cluster: Lab, tmp_path: Path, images: containers.Images
) -> None:
    keys = {"engine": "sarus", "image": {"ref": containers.IMAGE}, "python": str(containers.PYTHON)}
    site = bertjob.site("sarus", launcher="openmpi", env=AS_ROOT, **keys)
    done = bertjob("submit", tiny(), "--site", site, "--run-dir", "runs/run", "--wait")
    run = RunDir(tmp_path / "runs" / "run")
    assert_four_ranks_trained(run, cluster, done.stdout.splitlines()[-1])
    assert "sarus run" in run.script.read_text()


def test_a_signal_makes_a_checkpoint_and_the_same_run_finishes_after_a_requeue(
    bertjob: Face, tiny: Tiny, cluster: Lab, tmp_path: Path
) -> None:
    steps = 100
    done = bertjob("submit", tiny(steps), "--run-dir", "run")
    job_id, run = done.stdout.splitlines()[-1], RunDir(tmp_path / "run")
    wait_for_step(run, job_id, 3)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job_id], check=True)  # what comes before the time limit
    bertjob("wait", job_id)
    assert restarts(job_id) == 1
    assert_four_ranks_trained(run, cluster, job_id, steps)
    assert run.log(job_id).read_text().count("rank 0 of 4") == 2  # the log goes on


def test_the_time_limit_makes_a_checkpoint_and_a_requeue_and_cancel_ends_it_for_good(
    bertjob: Face, tiny: Tiny, tmp_path: Path
) -> None:
    job = tiny(1_000_000, checkpoint={"signal_seconds": 45})
    job_id = bertjob("submit", job, "--time", "2", "--run-dir", "run").stdout.splitlines()[-1]
    run = RunDir(tmp_path / "run")
    until(lambda: run.latest.exists())
    reached = int(run.latest.read_text().strip().removeprefix("step-"))
    assert reached > 0
    wait_for_step(run, job_id, reached + 1)
    assert restarts(job_id) == 1
    bertjob("cancel", job_id)
    bertjob("wait", job_id, code=1)
    assert json.loads(bertjob("status", "--json", job_id).stdout)[0]["state"] == "cancelled"
    assert restarts(job_id) == 1
    assert int(run.latest.read_text().strip().removeprefix("step-")) > reached  # cancelled with a checkpoint
    steps = [json.loads(line)["step"] for line in run.metrics.read_text().splitlines()]
    assert reached + 1 in steps
    assert steps == sorted(set(steps))


def test_a_rank_that_is_killed_ends_the_job_within_seconds_and_is_named(
    bertjob: Face, tiny: Tiny, cluster: Lab, tmp_path: Path
) -> None:
    job_id = bertjob("submit", tiny(1_000_000), "--run-dir", "run").stdout.splitlines()[-1]
    run = RunDir(tmp_path / "run")
    wait_for_step(run, job_id, 2)
    kill_training(cluster, 3)
    bertjob("wait", job_id, code=1)
    log = run.log(job_id).read_text()
    assert f"{cluster.shape.host(3)}: task 2: Killed" in log
