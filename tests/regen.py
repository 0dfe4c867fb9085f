"""What is generated and kept in the repository: the examples in slurm/examples, and what documents keys and schedules.

The examples are the golden files of tests/test_script.py as well. ``make regen`` writes everything again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from bertjob.config.load import load_job, load_site
from bertjob.config.reference import KINDS, reference
from bertjob.config.search import shipped_folder
from bertjob.config.site import Mount, Mpi, Site
from bertjob.launch.plan import Here, Plan, plan
from bertjob.launch.script import script
from tests import schedules_page

ROOT = Path(__file__).resolve().parent.parent
HERE = Here(python="/home/user/venv/bin/python", cwd="/home/user/bert", cpus=16)
"""A login node that is the same wherever the examples are made."""


def planned(site: Site, *settings: str, job: str = "squad") -> Plan:
    """The plan of ``bertjob script JOB`` with these settings."""
    return plan(load_job(job, settings).value, site, None, HERE)


def text_of(name: str) -> str:
    """Text of a file in slurm/examples."""
    return script(EXAMPLES[name]())


def site(name: str) -> Site:
    """One of bertjob's own sites."""
    return load_site(str(shipped_folder("site") / f"{name}.yaml")).value


def _podman() -> Plan:
    two_gpus = ("resources.nodes=2", "resources.gpus_per_node=2", "resources.cpus_per_task=8", "resources.time=4:00:00")
    image = "image.ref=registry.example.org/bertjob:latest"
    with_open_mpi_5 = msgspec.structs.replace(site("generic"), mpi=Mpi(version=5))
    return planned(with_open_mpi_5, *two_gpus, "engine=podman", "launcher=openmpi", image)


def _container(engine: str, image: str = "registry.example.org/bertjob:latest", **keys: object) -> Plan:
    """Two nodes with two GPUs each, the image's python, and a scratch file system that the nodes share."""
    two_gpus = ("resources.nodes=2", "resources.gpus_per_node=2", "resources.cpus_per_task=8", "resources.time=4:00:00")
    with_scratch = msgspec.structs.replace(site("generic"), mounts=(Mount(source="$SCRATCH"),), **keys)
    return planned(with_scratch, *two_gpus, f"engine={engine}", f"image.ref={image}")


def _docker() -> Plan:
    here = ("resources.gpus_per_node=2", "engine=docker", "image.ref=registry.example.org/bertjob:latest")
    return planned(site("local"), *here)


def _srun(launcher: str) -> Plan:
    one_gpu = ("resources.nodes=4", "resources.gpus_per_node=1", "resources.cpus_per_task=8", "resources.time=4:00:00")
    return planned(site("generic"), *one_gpu, f"launcher={launcher}", "resources.account=<account>")


def _auto() -> Plan:
    knows = Mpi(family="openmpi", version=4, pmi=("pmix",), slurm=("none", "pmi2", "pmix"))
    job = load_job("smoke", ("mpi=true", "launcher=auto", "resources.nodes=4", "resources.gpus_per_node=1"))
    return plan(job.value, msgspec.structs.replace(site("generic"), mpi=knows), None, HERE)


def _onebit(preset: str, interface: str) -> Plan:
    """A cluster of which the network is known: it tells the mpirun and, of MPI, whether to hand it GPU buffers."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "generic.yaml"
        plain = (shipped_folder("site") / "generic.yaml").read_text()
        file.write_text(f"{plain}fabric: {{preset: {preset}, interface: {interface}}}\n")
        known = load_site(str(file)).value
    by_mpi = (
        "mpi=true",
        "launcher=auto",
        "resources.nodes=8",
        "resources.gpus_per_node=4",
        "resources.cpus_per_task=8",
    )
    return planned(known, *by_mpi, job="squad-onebit")


def _two_nodes(name: str, *settings: str) -> Plan:
    of_site = site(name)
    account = ("resources.account=<account>",) if "account" in of_site.needs else ()
    return planned(of_site, "resources.nodes=2", *account, *settings)


EXAMPLES: Mapping[str, Callable[[], Plan]] = {
    "alps-squad-2.sbatch": lambda: _two_nodes("alps"),
    "daint-squad-8.sbatch": lambda: planned(site("daint"), "resources.nodes=8", "resources.account=<account>"),
    "eiger-squad-2.sbatch": lambda: _two_nodes("eiger"),
    "generic-squad-4.sbatch": lambda: _srun("srun"),
    "generic-squad-4-deepspeed.sbatch": lambda: _srun("deepspeed"),
    "generic-squad-4-hydra.sbatch": lambda: _srun("hydra"),
    "generic-squad-4-openmpi-srun.sbatch": lambda: _srun("openmpi-srun"),
    "generic-squad-4-torchrun.sbatch": lambda: _srun("torchrun"),
    "generic-smoke-4-auto.sbatch": _auto,
    "generic-squad-onebit-8-ethernet.sbatch": lambda: _onebit("ethernet", "eth0"),
    "generic-squad-onebit-8-infiniband.sbatch": lambda: _onebit("infiniband", "ib0"),
    "generic-squad-2-apptainer.sbatch": lambda: _container("apptainer", "$SCRATCH/bertjob.sif"),
    "generic-squad-2-charliecloud.sbatch": lambda: _container("charliecloud", "$SCRATCH/bertjob"),
    "generic-squad-2-edf.sbatch": lambda: _container("edf", annotations={"com.hooks.cxi.enabled": "true"}),
    "generic-squad-2-podman.sbatch": _podman,
    "generic-squad-2-podman-hpc.sbatch": lambda: _container("podman-hpc"),
    "generic-squad-2-pyxis.sbatch": lambda: _container("pyxis"),
    "generic-squad-2-sarus.sbatch": lambda: _container("sarus"),
    "generic-squad-2-shifter.sbatch": lambda: _container("shifter", engine_args=("--module=gpu",)),
    "generic-squad-2-singularity.sbatch": lambda: _container("singularity", "$SCRATCH/bertjob.sif", gpu_vendor="amd"),
    "juwels-booster-squad-2.sbatch": lambda: _two_nodes("juwels-booster"),
    "leonardo-squad-2.sbatch": lambda: _two_nodes("leonardo"),
    "local-squad-2-docker.sh": _docker,
    "local-squad-2.sh": lambda: planned(site("local"), "resources.tasks_per_node=2"),
    "lumi-squad-2.sbatch": lambda: _two_nodes("lumi", "train.global_batch=48"),
    "perlmutter-squad-2.sbatch": lambda: _two_nodes("perlmutter"),
}
REFERENCES = {"job": ROOT / "jobs/KEYS.md", "site": ROOT / "slurm/sites/KEYS.md"}


def main() -> None:
    """Write all of it."""
    folder = ROOT / "slurm/examples"
    for stale in set(folder.iterdir()) - {folder / name for name in EXAMPLES}:
        stale.unlink()
    for name in EXAMPLES:
        (folder / name).write_text(text_of(name))
    for kind in KINDS:
        REFERENCES[kind].write_text(reference(kind))
    (ROOT / "jobs/schedules").mkdir(exist_ok=True)
    for name, text in schedules_page.files().items():
        (ROOT / "jobs" / name).write_text(text)


if __name__ == "__main__":
    main()
