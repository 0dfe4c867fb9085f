"""A case as doctor examines it, without a machine: what Slurm, programs and places would have said."""

import msgspec

from bertjob.cluster.doctor.case import Case, Image, Typed
from bertjob.cluster.doctor.proofs import Combination
from bertjob.cluster.host import Machine, Places, Programs
from bertjob.cluster.host.programs import HostLauncher
from bertjob.cluster.scheduler_answers import NodeGroup, SchedulerFacts
from bertjob.config.job import Image as JobImage
from bertjob.config.job import Job, Library, Resources
from bertjob.config.registry.launcher_programs import OPEN_MPI
from bertjob.config.site import Site
from bertjob.launch.plan import Here
from bertjob.rundir.image_contents import ImageFacts
from bertjob.rundir.proof import AllReduce, Proof, Rank

HERE = Here(python="/venv/bin/python", cwd="/home/me")
GROUP = NodeGroup(partition="normal", default=True, time="1-00:00:00", nodes=4, idle=3, cpus=12, gpus=1)
SLURM = SchedulerFacts(
    installed=True,
    version="22.05.8",
    settings={
        "ClusterName": "c",
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "SelectType": "select/cons_tres",
    },
    groups=(GROUP,),
    mpi_types=("none", "pmi2", "pmix", "pmix_v4"),
    clock=0.0,
)
OPEN_MPI_4 = HostLauncher("mpirun", OPEN_MPI, "Open MPI", "4.1.4", ("ext3x", "flux", "isolated"))
DEBIAN = Library(family="openmpi", version="4.1.4")
WHEEL_5 = Library(family="openmpi", version="5.0.11")
MPICH = Library(family="mpich", version="5.0.2")
GB = 10**9
TYPED = Typed("./s.yaml", options=("--set", "mpi=true"))


def case(
    site=None,
    slurm=SLURM,
    programs=None,
    places=None,
    *,
    mpi=False,
    launcher="srun",
    image=None,
    engine="podman",
    resources=None,
    **more,
):
    asked = Resources(nodes=2, tasks_per_node=1, gpus_per_node=1, cpus_per_task=4, time="10")
    whole = Job(
        name="j",
        task="smoke",
        engine="none" if image is None else engine,
        launcher=launcher,
        mpi=mpi,
        image=JobImage(ref=None if image is None else image.ref),
        resources=msgspec.structs.replace(asked, **(resources or {})),
    )
    machine = Machine(slurm, programs or Programs(launchers=(OPEN_MPI_4,)), places or Places())
    return Case(job=whole, site=site or Site(name="s"), machine=machine, typed=TYPED, image=image, **more)


def holding(library):
    """An image with an MPI library."""
    return Image("img:1", facts=ImageFacts(python="3.12.3", mpi=library))


def said(check, what):
    return {finding.check: (finding.level, finding.finding) for finding in check(what)}


def one(check, what):
    (finding,) = check(what)
    return finding


ABOUT = Combination("s", "22.05.8", "podman", "sha256:1", "srun")
PROOF = Proof(
    time=1e9,
    job_id="1",
    launcher="srun",
    engine="podman",
    ranks=(Rank(rank=0, host="n1", device="cpu"), Rank(rank=1, host="n2", device="cpu")),
    transport="gloo over eth0",
    all_reduces=(
        AllReduce(bytes=1024, seconds=1e-3, bandwidth=1e6),
        AllReduce(bytes=1 << 30, seconds=0.5, bandwidth=2e9),
    ),
    warnings=("the clock of n2 is +2.0 s off rank 0's",),
)
