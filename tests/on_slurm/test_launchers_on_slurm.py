"""Every launcher on four nodes of a real Slurm with three real MPI libraries, and what comes of those that do not fit.

What a launch must show is what ``task: smoke`` proves: all ranks by gloo, and with ``mpi: true`` over MPI as well.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import containers
import mpi
import pytest
from face import Face
from slurm.lab import Lab
from until import until

from bertjob.config.job import Library
from bertjob.launch.pmi import Facts, Outcome, verdicts
from bertjob.rundir.directory import RunDir
from bertjob.rundir.proof import Proof, read_proof
from bertjob.rundir.state import read_state

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

Cell = tuple[str, str, str | None]
"""Library, launcher and srun's type."""
PROGRAMS = {
    "openmpi4": Library(family="openmpi", version="4.1.4", pmi=("pmix",)),
    "openmpi5": Library(family="openmpi", version="5.0.11"),
    "mpich": Library(family="mpich", version="5.0.2"),
}
HELLO = """\
from mpi4py import MPI
world = MPI.COMM_WORLD
print(f"rank {world.rank} of {world.size}, sum {world.allreduce(1)}", flush=True)
"""


class Launch:
    """Submits smoke jobs, four nodes with one rank each unless told otherwise."""

    def __init__(self, bertjob: Face, libraries: dict[str, dict[str, str]]) -> None:
        self.bertjob = bertjob
        self._libraries = libraries

    def site(self, library: str, launcher: str = "auto") -> Path:
        resources = {"nodes": 4, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}
        keys = {"env": self._libraries[library], "mpi": mpi.FACTS[library], "defaults": resources}
        return self.bertjob.site(library, launcher=launcher, **keys)

    def proof(self, library: str, launcher: str = "auto", *settings: str) -> Proof:
        """What the job proves."""
        words = [word for setting in settings for word in ("--set", setting)]
        site = self.site(library, launcher)
        self.bertjob("submit", "smoke", "--site", site, "--run-dir", "run", "--wait", *words)
        proof = read_proof(RunDir(self.bertjob.folder / "run").proof)
        assert proof is not None
        return proof


@pytest.fixture
def launch(bertjob: Face, libraries: dict[str, dict[str, str]]) -> Launch:
    return Launch(bertjob, libraries)


@pytest.mark.parametrize(
    ("library", "srun_mpi", "name"),
    [
        ("openmpi4", "pmix", "Open MPI v4.1.4"),
        ("openmpi5", "pmix", "Open MPI v5.0.11"),
        ("mpich", "pmi2", "MPICH 5.0.2"),
    ],
)
def test_auto_takes_srun_with_the_pmi_that_the_library_speaks(
    launch: Launch, cluster: Lab, library: str, srun_mpi: str, name: str
) -> None:
    proof = launch.proof(library, "auto", "mpi=true")
    assert (proof.launcher, proof.srun_mpi) == ("srun", srun_mpi)
    assert [(rank.rank, rank.mpi) for rank in proof.ranks] == [(rank, name) for rank in range(4)]
    assert proof.hosts == tuple(cluster.shape.host(node) for node in cluster.nodes)
    assert proof.transport.startswith("gloo over eth0")
    assert [one.bytes for one in proof.all_reduces][:2] == [1 << 10, 1 << 20]
    assert all(one.seconds > 0 and one.bandwidth > 0 for one in proof.all_reduces)
    assert proof.warnings == ()


@pytest.mark.parametrize(
    ("library", "launcher"),
    [
        ("openmpi4", "openmpi"),
        ("openmpi5", "openmpi"),
        ("mpich", "hydra"),
        ("openmpi4", "openmpi-srun"),
        ("openmpi5", "openmpi-srun"),
    ],
)
def test_mpirun_of_the_host_starts_ranks_that_need_mpi(launch: Launch, library: str, launcher: str) -> None:
    proof = launch.proof(library, launcher, "mpi=true")
    assert proof.launcher == launcher
    assert len(proof.hosts) == len([rank for rank in proof.ranks if rank.mpi]) == 4


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_one_agent_a_node_starts_all_ranks_of_it(launch: Launch, cluster: Lab, launcher: str) -> None:
    launch.bertjob.folder = launch.bertjob.folder / "with 'quotes' and $(x)"
    launch.bertjob.folder.mkdir()
    proof = launch.proof("openmpi4", launcher, "resources.nodes=2", "resources.tasks_per_node=2")
    hosts = [cluster.shape.host(node) for node in (1, 1, 2, 2)]
    assert [(rank.rank, rank.host) for rank in proof.ranks] == list(enumerate(hosts))


def training(launch: Launch, squad: Path, steps: int, **keys: object) -> tuple[Path, RunDir]:
    """A job of so many steps, and where it shall run."""
    job = launch.bertjob.job(
        model={"init": "random", "vocab": str(squad / "vocab.txt"), "layers": 1, "hidden": 32, "heads": 2},
        data={"train": str(squad / "train.json")},
        precision="fp32",
        train={"global_batch": 8, "micro_batch": 1, "epochs": 1e6, "max_steps": steps, "log_every": 1},
        **keys,
    )
    return job, RunDir(launch.bertjob.folder / "run")


@pytest.mark.parametrize(("library", "launcher"), [("openmpi5", "openmpi"), ("mpich", "hydra")])
def test_training_whose_compressed_steps_go_by_mpi_runs_through_mpirun(
    launch: Launch, squad: Path, library: str, launcher: str
) -> None:
    job, run = training(launch, squad, 4, mpi=True, optimizer={"name": "onebit-adam", "freeze_step": 2})
    launch.bertjob("submit", job, "--site", launch.site(library, launcher), "--run-dir", run.path, "--wait")
    assert json.loads(run.hparams.read_text())["world_size"] == 4
    assert "onebit: {transport: mpi, cuda_aware: false, " in run.job.read_text()
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", 4)
    steps = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    full, bits = (line["bytes_sent"] for line in (steps[0], steps[3]))
    assert full / bits == pytest.approx(32, rel=0.1)


def test_a_signal_passes_by_the_agents_and_the_same_run_finishes_after_a_requeue(launch: Launch, squad: Path) -> None:
    job, run = training(launch, squad, 60)
    submitted = launch.bertjob("submit", job, "--site", launch.site("openmpi4", "torchrun"), "--run-dir", run.path)
    job_id = submitted.stdout.splitlines()[-1]
    until(lambda: (state := read_state(run.state)) is not None and state.step >= 3)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job_id], check=True)
    launch.bertjob("wait", job_id)
    shown = subprocess.run(["scontrol", "show", "job", job_id], capture_output=True, text=True, check=True).stdout
    assert "Restarts=1" in shown
    state = read_state(run.state)
    assert state is not None
    assert (state.phase, state.step) == ("done", 60)


LAUNCHES = {
    ("srun", "none"): "srun --mpi=none",
    ("srun", "pmi2"): "srun --mpi=pmi2",
    ("srun", "pmix"): "srun --mpi=pmix",
    ("openmpi", None): "/usr/bin/mpirun -n 4 -npernode 1 -x LD_LIBRARY_PATH -x MPI4PY_MPIABI",
    ("hydra", None): "{mpich}/bin/mpiexec.hydra -n 4 -ppn 1 -genvall",
}
CELLS = [(library, *launch) for library in PROGRAMS for launch in LAUNCHES]
IN_CONTAINERS = [
    ("openmpi4", "srun", "pmix"),
    ("openmpi5", "srun", "pmix"),
    ("mpich", "srun", "pmi2"),
    ("mpich", "hydra", None),
    ("openmpi4", "openmpi", None),
]
"""Where a container might stand between the program and whoever starts it; the rest fails as it does without."""
HOSTS = {"openmpi": Library(family="openmpi", version="4"), "hydra": Library(family="mpich")}


def submitted(script: Path, slurm_conf: Path) -> str:
    """How a script ends as a job; sbatch's own --wait looks seldom."""
    env = {**os.environ, "SLURM_CONF": str(slurm_conf)}

    def said(*command: str) -> str:
        return subprocess.run(command, cwd=script.parent, env=env, check=True, capture_output=True, text=True).stdout

    job_id = said("sbatch", "--parsable", "--output=log", script.name).strip()
    until(lambda: not said("squeue", "--noheader", f"--jobs={job_id}"))
    return said("squeue", "--noheader", "--states=all", f"--jobs={job_id}", "--format=%T").strip()


def hellos(
    lab: Lab, libraries: dict[str, dict[str, str]], folder: Path, cells: list[Cell], engine: str = ""
) -> dict[str, str]:
    """What each program printed under each launcher, in one job; the keys are e.g. ``mpich srun pmix``."""
    (folder / "hello.py").write_text(HELLO)
    mpich = libraries["mpich"]["LD_LIBRARY_PATH"].removesuffix("/lib")
    lines = ["#!/bin/bash", "#SBATCH --nodes=4 --ntasks-per-node=1 --time=5"]
    for library, launcher, kind in cells:
        own = " ".join(f'{name}="{value}"' for name, value in libraries[library].items() if name != "PATH")
        words = LAUNCHES[launcher, kind].format(mpich=mpich)
        command = f"timeout 60 {words} {engine} {sys.executable} {folder}/hello.py"
        lines.append(f"(export {own}; {command}) > '{folder}/{library} {launcher} {kind}' 2>&1")
    script = folder / "job.sbatch"
    script.write_text("\n".join(lines) + "\n")
    submitted(script, lab.shape.slurm_conf)
    return {path.name: path.read_text() for path in folder.iterdir() if " " in path.name}


@pytest.fixture(scope="module")
def measured(
    lab: Lab, libraries: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    return hellos(lab, libraries, tmp_path_factory.mktemp("hello"), CELLS)


@pytest.fixture(scope="module")
def measured_in_podman(
    lab: Lab,
    libraries: dict[str, dict[str, str]],
    built: containers.Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    folder, tmp = tmp_path_factory.mktemp("hello"), tmp_path_factory.getbasetemp()
    namespaces = "--env-host --network=host --pid=host --ipc=host --uts=host"
    mount = f"--mount=type=bind,source={tmp},destination={tmp}"
    podman = f"env CONTAINERS_CONF={built.settings} {built.commands}/podman run --rm {namespaces} {mount}"
    return hellos(lab, libraries, folder, IN_CONTAINERS, f"{podman} {containers.IMAGE}")


@pytest.mark.parametrize(("library", "launcher", "kind"), IN_CONTAINERS)
def test_what_is_predicted_comes_true_in_containers(
    measured_in_podman: dict[str, str], library: str, launcher: str, kind: str | None
) -> None:
    facts = Facts(PROGRAMS[library], HOSTS.get(launcher, Library()), tuple(mpi.SLURM_TYPES), "podman", needs_mpi=True)
    (verdict,) = (one for one in verdicts(facts) if (one.launcher, one.srun_mpi) == (launcher, kind))
    assert outcome(measured_in_podman[f"{library} {launcher} {kind}"]) == verdict.outcome, verdict.reason


@pytest.mark.parametrize(("library", "launcher", "kind"), CELLS)
def test_what_is_predicted_comes_true(measured: dict[str, str], library: str, launcher: str, kind: str | None) -> None:
    facts = Facts(PROGRAMS[library], HOSTS.get(launcher, Library()), tuple(mpi.SLURM_TYPES), "none", needs_mpi=True)
    (verdict,) = (one for one in verdicts(facts) if (one.launcher, one.srun_mpi) == (launcher, kind))
    assert outcome(measured[f"{library} {launcher} {kind}"]) == verdict.outcome, verdict.reason


def outcome(printed: str) -> Outcome:
    """What became of four processes, by what they printed."""
    said = re.findall(r"rank (\d) of (\d), sum (\d)", printed)
    if sorted(said) == [(str(rank), "4", "4") for rank in range(4)]:
        return "works"
    if said == [("0", "1", "1")] * 4:
        return "singletons"
    aborts = ("not built with SLURM's PMI support", "unsupported PMI version PMIx", "PMIU_write error")
    assert any(words in printed for words in aborts), printed
    return "aborts"


@pytest.mark.parametrize(
    ("library", "told"),
    [
        ("openmpi4", r"Open MPI v4.1.4 would abort in MPI_Init: srun, which started it, offers it no PMI"),
        ("openmpi5", r"Open MPI v5.0.11 takes every process for rank 0 of 1, the plan has 4 ranks"),
        ("mpich", r"MPICH 5.0.2 takes every process for rank 0 of 1, the plan has 4 ranks"),
    ],
)
def test_ranks_stop_in_one_line_where_somebody_has_changed_the_script_to_plain_srun(
    launch: Launch, library: str, told: str
) -> None:
    folder = launch.bertjob.folder
    script = launch.bertjob("script", "smoke", "--site", launch.site(library), "--set", "mpi=true").stdout
    (folder / "job.sbatch").write_text(re.sub("--mpi=pmi[2x]", "--mpi=none", script))
    assert submitted(folder / "job.sbatch", Path(os.environ["SLURM_CONF"])) == "FAILED"
    log = (folder / "log").read_text()
    assert len(re.findall(told, log)) == 1, log
    assert "Traceback" not in log
    (run,) = (folder / "runs").iterdir()
    state = read_state(RunDir(run).state)
    assert state is not None
    assert state.phase == "failed"
    assert re.search(told, state.error)


def test_a_launcher_that_cannot_work_is_refused_with_the_one_that_does(launch: Launch) -> None:
    site = launch.site("openmpi4", "torchrun")
    done = launch.bertjob("submit", "smoke", "--site", site, "--set", "mpi=true", code=3)
    assert done.stderr.splitlines()[-1] == (
        "bertjob: site openmpi4: launcher torchrun: it tells MPI nothing: MPI_Init aborts with 'not built with SLURM's"
        " PMI support'; use launcher: srun and srun_mpi: pmix"
    )
