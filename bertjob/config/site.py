"""What a site is: how jobs start on one cluster, as data.

Strings marked "may name variables" keep ``$NAME`` and ``${NAME}`` for the shell of the job; all else is quoted.
"""

from typing import Annotated, Literal

from msgspec import Meta

from bertjob.config.job import (
    LARGEST,
    Count,
    Engine,
    Family,
    Image,
    Launcher,
    Name,
    Positive,
    Resources,
    Section,
    SrunMpi,
)


class Mount(Section, frozen=True):
    """A folder of the host inside the container."""

    source: Annotated[str, Meta(min_length=1)]
    """Absolute path on the host; may name variables."""
    target: str | None = None
    """Path inside (default: the same); may name variables."""
    readonly: bool = False
    """No writing from inside."""


class Fabric(Section, frozen=True):
    """The network between the nodes."""

    preset: str | None = None
    """Variables of a kind of network, each with its source (slurm/fabrics): `slingshot`, `infiniband`, `ethernet`,
    `aries`, or one of your own in `~/.config/bertjob/fabrics`. What the site says itself wins."""
    interface: str | None = None
    """Network interface of the fabric, e.g. `hsn0`: for gloo, NCCL and Open MPI's TCP."""
    host_suffix: (
        Annotated[str, Meta(pattern="^[A-Za-z0-9.-]+$", extra={"wanted": "text of letters, digits, '.' and '-'"})]
        | None
    ) = None
    """What makes a node's name its name on the fabric, e.g. `i` at JSC: the ranks meet there."""
    gbits: Positive | None = None
    """10^9 bits a second that a node can send, over all its interfaces, for `bertjob estimate`."""
    fast: bool = False
    """NCCL has more than TCP here (default: the preset's): training warns when it falls back to TCP."""
    env: dict[str, str | None] = {}
    """Variables of NCCL, libfabric, UCX, MPI; may name variables; null leaves out one of the preset."""
    mpi_env: dict[str, dict[str, str]] = {}
    """Variables that one MPI family alone reads, e.g. `openmpi: {OMPI_MCA_pml: cm}`; set where its launcher, or
    srun with `mpi: true`, starts the ranks."""


class Mpi(Section, frozen=True):
    """MPI on the host: its mpirun or mpiexec, its library, and what Slurm's srun offers."""

    family: Family | None = None
    """`openmpi`, or `mpich` for all whose mpiexec is hydra: MPICH, MVAPICH, Intel MPI."""
    version: Literal[4, 5] = 4
    """Open MPI's major version: 4 (`-npernode`, orted) or 5 (`--map-by`, prte)."""
    args: tuple[str, ...] = ()
    """More words for mpirun, before the command."""
    pmi: tuple[str, ...] = ()
    """What the host's library speaks, as in `image.mpi.pmi`."""
    slurm: tuple[str, ...] = ()
    """The types that `srun --mpi=list` tells, e.g. `[none, pmi2, pmix]`."""
    srun: SrunMpi | None = None
    """What srun offers the ranks: its `--mpi` (default: `none`, or what a job with `mpi: true` needs)."""


Combine = Literal["all", "site", "job"]
Requirement = Literal[
    "account",
    "constraint",
    "core-spec",
    "cpu-freq",
    "cpus-per-task",
    "dependency",
    "distribution",
    "exclude",
    "exclusive",
    "gpu-bind",
    "gpu-freq",
    "gpus-per-node",
    "gres",
    "gres-flags",
    "hint",
    "licenses",
    "mem",
    "mem-bind",
    "mem-per-cpu",
    "mem-per-gpu",
    "network",
    "nodelist",
    "nodes",
    "ntasks-per-core",
    "ntasks-per-node",
    "ntasks-per-socket",
    "oversubscribe",
    "partition",
    "qos",
    "reservation",
    "switches",
    "thread-spec",
    "threads-per-core",
    "time",
    "tmp",
    "wckey",
]
"""Options of sbatch, of which a site may say how its own go together with those of a job."""


class Limits(Section, frozen=True):
    """What the site does not accept; checked before submission because Slurm lets such jobs pend for ever."""

    nodes: Count | None = None
    """Nodes a job at most."""
    time: str | None = None
    """Walltime at most, in Slurm's forms."""
    cpus_per_node: Count | None = None
    """CPU cores a node."""
    gpus_per_node: Annotated[int, Meta(ge=0, le=LARGEST)] | None = None
    """GPUs a node."""


class Gpu(Section, frozen=True):
    """One GPU of a node, for estimates."""

    name: str = ""
    """Its name, e.g. `A100 SXM4 40 GB`."""
    memory_gib: Positive | None = None
    """Its memory in GiB."""
    tflops: Positive | None = None
    """Its peak rate in 10^12 operations a second, in bf16 or fp16 without sparsity."""
    tflops_fp32: Positive | None = None
    """Its peak rate in fp32."""


class Site(Section, frozen=True):
    """A cluster, or this machine."""

    name: Name
    """Name of the site."""
    description: str = ""
    """One line for people."""
    source: str = ""
    """Where these facts come from, with the date."""
    scheduler: Literal["slurm", "none"] = "slurm"
    """`none`: run in the foreground, here."""
    engine: Engine = "none"
    """Container engine."""
    engine_args: tuple[str, ...] = ()
    """More options for the engine, before the image, e.g. `[--module=gpu]` for shifter."""
    annotations: dict[str, str] = {}
    """Annotations of the container, for engines that read them (edf, podman, podman-hpc, sarus), e.g.
    `com.hooks.cxi.enabled: "true"`."""
    launcher: Launcher = "srun"
    """What starts the ranks, as in jobs; `auto`: what works by the MPI of image, host and Slurm."""
    login_shell: bool = False
    """Scripts begin with `bash -l`: sites whose `module` needs it."""
    modules: tuple[str, ...] = ()
    """`module load` these, in order."""
    setup: tuple[str, ...] = ()
    """Lines of shell after the modules, as they are."""
    epilogue: tuple[str, ...] = ()
    """Lines of shell after each job, behind the job's own `epilogue`."""
    python: str | None = None
    """Python that has bertjob[train]; may name variables (default: the one that runs bertjob, or
    `python3` inside a container)."""
    image: Image = Image()
    """Image of jobs that name none."""
    mounts: tuple[Mount, ...] = ()
    """Folders of the host inside containers, beside those that the job needs."""
    env: dict[str, str] = {}
    """Environment variables of the ranks; may name variables."""
    fabric: Fabric = Fabric()
    """The network between the nodes."""
    mpi: Mpi = Mpi()
    """The host's mpirun or mpiexec."""
    gpu_vendor: Literal["nvidia", "amd"] = "nvidia"
    """Maker of the GPUs: engines show them to a container in other ways."""
    gpu_option: Literal["gpus-per-node", "gres", "none"] = "gpus-per-node"
    """How sbatch is asked for GPUs: `--gpus-per-node=N`, `--gres=gpu:N`, or not at all, where a constraint or
    partition brings them."""
    internet: bool | None = None
    """Nodes reach the internet: models can be downloaded by name (default: not known, so submit warns)."""
    needs: tuple[Literal["account", "constraint", "partition", "time"], ...] = ()
    """Resources that every job must say here; submit asks for them before the scheduler does."""
    gpu: Gpu = Gpu()
    """One GPU of a node, for `bertjob estimate`."""
    defaults: Resources = Resources()
    """Resources of jobs that say nothing else."""
    combine: dict[Requirement, Combine] = {}
    """What becomes of a default where a job asks for something else, by the option of sbatch, however it is said:
    `all`: both hold, a constraint as `(site)&(job)`, lists by a comma, and anything else is refused; `site`: the job is
    refused; `job`: the job's replaces it, and submit says so (default: `all` for `constraint`, `dependency`, `exclude`,
    `gres` and `licenses`, else `job`). E.g. `{ntasks-per-core: site}`."""
    limits: Limits = Limits()
    """What the site does not accept."""
