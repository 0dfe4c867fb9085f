"""Launchers: what stands before everything else and starts the ranks on all nodes.

A new launcher is one function from `Start` to words and one row of `LAUNCHERS`; see also `spec.job.Launcher`. Each
leaves the variables from which bertjob.launch.world reads the ranks, inside the step.
"""

from collections.abc import Callable, Mapping

import msgspec

from bertjob.launch.words import Word, variable
from bertjob.spec.site import Mpi


class Start(msgspec.Struct, frozen=True):
    """What every launcher is told.

    Attributes:
        nodes: number of nodes.
        tasks_per_node: ranks on each.
        variables: names of environment variables that must reach the ranks.
        mpi: the host's mpirun or mpiexec.
        interface: network interface of the fabric.
    """

    nodes: int
    tasks_per_node: int
    variables: tuple[str, ...]
    mpi: Mpi
    interface: str | None

    @property
    def ranks(self) -> int:
        """The world size."""
        return self.nodes * self.tasks_per_node


class Launcher(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        command: the words before engine and program; none: the script starts the ranks itself.
        schedulers: where it works.
        note: why it is as it is, for the script.
    """

    command: Callable[[Start], tuple[Word, ...]]
    schedulers: frozenset[str]
    note: str


def local(start: Start) -> tuple[Word, ...]:
    """The script itself starts the ranks of this machine."""
    return ()


def srun(start: Start) -> tuple[Word, ...]:
    """Slurm's own launcher, with no part in MPI; srun does not take the CPUs of a rank from sbatch since 22.05."""
    return "srun", "--mpi=none", "--kill-on-bad-exit=1", "--cpus-per-task=" + variable("SLURM_CPUS_PER_TASK")


def openmpi(start: Start) -> tuple[Word, ...]:
    """Open MPI's mpirun; version 5 has other words for the placement and for the daemons' network."""
    four = start.mpi.version == 4
    placement = ("-npernode", f"{start.tasks_per_node}") if four else ("--map-by", f"ppr:{start.tasks_per_node}:node")
    daemons = ("--mca", "oob_tcp_if_include") if four else ("--prtemca", "prte_if_include")
    network = (*daemons, start.interface, "--mca", "btl_tcp_if_include", start.interface) if start.interface else ()
    variables = (word for name in start.variables for word in ("-x", name))
    return "mpirun", "-n", f"{start.ranks}", *placement, "--bind-to", "none", *network, *start.mpi.args, *variables


def hydra(start: Start) -> tuple[Word, ...]:
    """The mpiexec of MPICH, MVAPICH and Intel MPI."""
    network = ("-iface", start.interface) if start.interface else ()
    placement = ("-n", f"{start.ranks}", "-ppn", f"{start.tasks_per_node}")
    return "mpiexec.hydra", *placement, *network, "-genvall", *start.mpi.args


LAUNCHERS: Mapping[str, Launcher] = {
    "local": Launcher(local, frozenset({"none"}), "One process a rank, started here."),
    "srun": Launcher(
        srun,
        frozenset({"slurm"}),
        "srun without MPI: ranks talk by NCCL or gloo. One that fails ends the step, or its peers would wait for ever.",
    ),
    "openmpi": Launcher(
        openmpi,
        frozenset({"slurm", "none"}),
        "mpirun of the host starts the ranks: srun cannot where the program's Open MPI was built without Slurm's PMI.",
    ),
    "hydra": Launcher(
        hydra,
        frozenset({"slurm", "none"}),
        "mpiexec of the host starts the ranks and hands them this environment.",
    ),
}
