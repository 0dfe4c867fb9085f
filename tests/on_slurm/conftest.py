"""The embedded Slurm, its command line and real questions as fixtures."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import containers
import mpi
import pytest
from face import Face
from provision import require, unavailable
from questions import first_questions
from training import Tiny

from slurm import lab as slurm_lab  # the folder beside this file
from slurm import ssh as slurm_ssh


@pytest.fixture(scope="session")
def lab() -> Iterator[slurm_lab.Lab]:
    """A running cluster of four nodes for the whole session; its own, whatever other test runs do."""
    require(slurm_lab.missing(), "the embedded Slurm")
    if os.geteuid() != 0:
        unavailable("the embedded Slurm needs root: namespaces, a bridge and mounts; run the tests with sudo")
    with slurm_lab.free_slot() as slot:
        lab = slurm_lab.Lab(slot)
        try:
            lab.start()
        except (slurm_lab.LabError, OSError) as error:
            lab.stop()
            unavailable(f"the embedded Slurm did not start: {error}")
        try:
            yield lab
        finally:
            lab.stop()


@pytest.fixture
def cluster(lab: slurm_lab.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[slurm_lab.Lab]:
    """The cluster as a user on its login node sees it: Slurm's commands work, the index is the test's own."""
    for name in tuple(os.environ):
        if name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_CONF", str(lab.shape.slurm_conf))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    lab.wait_idle()
    yield lab
    subprocess.run(["scancel", "--user=root"], check=False)  # what a failed test left


@pytest.fixture
def bertjob(cluster: slurm_lab.Lab, tmp_path: Path) -> Face:
    """The command line on the cluster's login node, in an empty folder."""
    return Face(tmp_path)


@pytest.fixture(scope="session")
def built(lab: slurm_lab.Lab) -> containers.Images:
    """A small image on each node, on this machine, and as a folder."""
    require(containers.missing(), "containers on the embedded cluster")
    hosts = [*(lab.shape.host(node) for node in lab.nodes), socket.gethostname()]
    return containers.make(lab.shape.folder / "images", hosts)


@pytest.fixture
def images(built: containers.Images, cluster: slurm_lab.Lab, monkeypatch: pytest.MonkeyPatch) -> containers.Images:
    """The image, with podman, Charliecloud and Sarus' command line on PATH."""
    fakes = Path(__file__).parents[1] / "fakes"
    monkeypatch.setenv("CONTAINERS_CONF", str(built.settings))
    monkeypatch.setenv("PATH", f"{fakes}:{built.commands}:{containers.PYTHON.parent}:{os.environ['PATH']}")
    return built


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """The environment of each MPI library."""
    return mpi.environments(mpi.install(tmp_path_factory.mktemp("mpi")))


@pytest.fixture
def ssh(cluster: slurm_lab.Lab, tmp_path: Path) -> Iterator[Path]:
    """A folder with a command ``ssh`` that reaches all nodes, without a question."""
    require({} if shutil.which("sshd", path="/usr/sbin:/usr/bin") else {"sshd": "openssh-server"}, "ssh between nodes")
    with slurm_ssh.daemons(cluster, tmp_path / "ssh"):
        yield tmp_path / "ssh"


@pytest.fixture(scope="session")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 64 questions of SQuAD to train on, 16 to evaluate on, and BERT's vocabulary."""
    source = os.environ.get("BERTJOB_TEST_DATA")
    if not source:
        unavailable("set BERTJOB_TEST_DATA to a folder with squad/train-v1.1.part.json, squad/dev-v1.1.json, vocab.txt")
    folder = tmp_path_factory.mktemp("squad")
    for name, file, count in (("train", "train-v1.1.part.json", 64), ("dev", "dev-v1.1.json", 16)):
        first_questions(Path(source, "squad", file), folder / f"{name}.json", count)
    shutil.copy(Path(source, "vocab.txt"), folder)
    return folder


@pytest.fixture
def tiny(bertjob: Face, squad: Path) -> Tiny:
    """A function that writes the job: eight steps unless told otherwise."""

    def make(steps: int = 8, **sections: object) -> Path:
        vocab = str(squad / "vocab.txt")
        return bertjob.job(
            model={"init": "random", "vocab": vocab, "layers": 2, "hidden": 32, "heads": 2},
            data={"train": str(squad / "train.json"), "dev": str(squad / "dev.json")},
            precision="fp32",
            train={
                "global_batch": 8,
                "micro_batch": 1,
                "epochs": 1e6,
                "max_steps": steps,
                "max_seq_length": 192,
                "log_every": 1,
            },
            **sections,
        )

    return make
