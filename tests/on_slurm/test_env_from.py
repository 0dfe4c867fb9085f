"""Secrets from the submitting shell reach each rank, over a requeue, and are to be seen nowhere else."""

import subprocess
from collections.abc import Iterator
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

NAME, VALUE = "HF_TOKEN", "geheim-4711-hf"
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
LAUNCHERS = {
    "srun": {},
    "openmpi": {"launcher": "openmpi", "env": AS_ROOT},
    "openmpi-srun": {"launcher": "openmpi-srun", "env": AS_ROOT},
    "torchrun": {"launcher": "torchrun"},
}


def ranks(cluster: Lab) -> Iterator[int]:
    for node in cluster.nodes:
        for pid, words in cluster.processes(node).items():
            if "bertjob.train" in words and words[1:2] == ["-u"] and "torch.distributed.run" not in words:
                yield pid


def have_it(cluster: Lab) -> bool:
    found = [Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") for pid in ranks(cluster)]
    return len(found) >= 2 and all(f"{NAME}={VALUE}".encode() in variables for variables in found)


def shown(cluster: Lab, job_id: str, run: RunDir) -> Iterator[tuple[str, str]]:
    """All that others may read of the job, by where it stands."""
    for node in cluster.nodes:
        for pid, words in cluster.processes(node).items():
            yield f"process {pid}", " ".join(words)
    for command in (
        ["scontrol", "show", "job", "-dd", job_id],
        ["squeue", "--json"],
        ["sacct", "-j", job_id, "--json"],
        ["scontrol", "write", "batch_script", job_id, "-"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield " ".join(command), done.stdout + done.stderr
    for path in run.path.rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            yield str(path), path.read_text(errors="replace")


def keeps_the_secret(bertjob: Face, cluster: Lab, job: Path, site: Path) -> None:
    run = RunDir(bertjob.folder / "runs" / "run")
    words = ("submit", job, "--site", site, "--nodes", "2", "--run-dir", run.path)
    job_id = bertjob(*words).stdout.split()[-1]
    for start in range(2):
        until(lambda start=start: restarts(job_id) == start and have_it(cluster))
        if start == 0:
            wait_for_step(run, job_id, 3)
        assert [place for place, text in shown(cluster, job_id, run) if VALUE in text] == []
        if start == 0:
            subprocess.run(["scontrol", "requeue", job_id], check=True)
    bertjob("cancel", job_id, "--now")
    bertjob("wait", job_id, code=1)
    state = read_state(run.state)
    assert state is not None


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, VALUE)


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize(
    "launcher", ["srun", *(pytest.param(name, marks=pytest.mark.faults) for name in LAUNCHERS if name != "srun")]
)
def test_each_rank_has_it_and_nobody_else_sees_it(bertjob: Face, tiny: Tiny, cluster: Lab, launcher: str) -> None:
    site = bertjob.site("site", **LAUNCHERS[launcher])
    keeps_the_secret(bertjob, cluster, tiny(1_000_000, env_from=[NAME]), site)


@pytest.mark.faults
@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("engine", ["podman", "charliecloud", "sarus"])
def test_it_passes_into_containers(
    bertjob: Face, tiny: Tiny, cluster: Lab, images: containers.Images, engine: str
) -> None:
    keys = LAUNCHERS["openmpi" if engine == "sarus" else "srun"]
    site = bertjob.site("site", engine=engine, **images.site_keys(engine), **keys)
    keeps_the_secret(bertjob, cluster, tiny(1_000_000, env_from=[NAME]), site)


def test_without_it_nothing_is_queued(bertjob: Face, tiny: Tiny, cluster: Lab) -> None:
    done = bertjob("submit", tiny(10, env_from=[NAME]), "--run-dir", "run", code=3)
    assert f"env_from: {NAME}: not set in this shell" in done.stderr
    assert not (bertjob.folder / "run").exists()
    assert subprocess.run(["squeue", "--noheader"], capture_output=True, text=True, check=True).stdout == ""
