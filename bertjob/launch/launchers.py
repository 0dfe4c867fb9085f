"""Launchers: what stands before everything else and starts the ranks on all nodes.

A new launcher is one function from `Start` to words and one row of `LAUNCHERS`; see also `spec.job.Launcher`. Each
leaves the variables from which bertjob.rundir.world reads the ranks, inside the step.
"""

from collections.abc import Callable, Mapping

import msgspec

from bertjob.config.job import SrunMpi
from bertjob.config.site import Mpi
from bertjob.launch.argv import Word, variable

HOSTFILE = "hostfile"
"""Name of the list of hosts, which Open MPI and DeepSpeed read alike."""
SRUN_AGENT = "srun-agent"
"""Name of the program that mpirun calls in place of ssh. By its bare name, as Open MPI splits the value at blanks."""
AGENT = "agent"
"""Name of the program that starts torchrun or DeepSpeed's launcher on a node."""

WRITE_SRUN_AGENT = f"""
# What mpirun calls as it would call ssh: HOST COMMAND, the command for a shell.
cat > {SRUN_AGENT} << 'END_OF_AGENT'
host=$1
shift
exec srun --quiet --overlap --mpi=none --cpu-bind=none -N1 -n1 --ntasks-per-node=1 -w "$host" sh -c "$*"
END_OF_AGENT
""".strip()

_IGNORES = f"""
# USR1 is for the ranks, which srun tells of it as well; it would end the agent that starts them.
cat > {AGENT} << 'END_OF_AGENT'
trap '' USR1
""".strip()

WRITE_TORCHRUN_AGENT = f"""
{_IGNORES}
# The agents' own store keeps MASTER_PORT, so the ranks get another port.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# Who keeps it is told, for torchrun knows a node by its own name, which that on the fabric may not be.
[ "$SLURM_NODEID" -eq 0 ] && host=1 || host=0
python=$1
shift
exec "$python" -u -m torch.distributed.run --rdzv-conf=join_timeout=60,is_host=$host "$@"
END_OF_AGENT
""".strip()


def write_hostfile(tasks_per_node: int) -> str:
    """The nodes in Slurm's order, each with its number of ranks."""
    return f"scontrol show hostnames \"$SLURM_JOB_NODELIST\" | sed 's/$/ slots={tasks_per_node}/' > {HOSTFILE}"


def write_deepspeed_agent(tasks_per_node: int) -> str:
    """The node's place in the hostfile is known inside the step only."""
    return f"""
{_IGNORES}
python=$1
shift
export LOCAL_WORLD_SIZE={tasks_per_node} # which this launcher leaves out
exec "$python" -u -m deepspeed.launcher.runner --node_rank "$SLURM_NODEID" "$@"
END_OF_AGENT
""".strip()


def agent_path() -> Word:
    """The agent as a command inside a container finds it."""
    return variable("RUN") + f"/{AGENT}"


def hostfile_path() -> Word:
    """The hostfile as a command inside a container finds it."""
    return variable("RUN") + f"/{HOSTFILE}"


class Start(msgspec.Struct, frozen=True):
    """What every launcher is told.

    Attributes:
        nodes: number of nodes.
        tasks_per_node: ranks on each.
        cpus_per_task: CPU cores a rank.
        variables: names of environment variables that must reach the ranks.
        mpi: the host's mpirun or mpiexec.
        interface: network interface of the fabric.
        srun_mpi: what srun offers the ranks.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    variables: tuple[str, ...]
    mpi: Mpi
    interface: str | None
    srun_mpi: SrunMpi = "none"

    @property
    def ranks(self) -> int:
        """The world size."""
        return self.nodes * self.tasks_per_node


def _plain(start: Start, python: Word) -> tuple[Word, ...]:
    """Each process that the launcher starts is a rank."""
    return python, "-u", "-m"


class Launcher(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        command: the words before engine and program; none: the script starts the ranks itself.
        schedulers: where it works.
        note: why it is as it is, for the script.
        python: the words before the module's name, inside the engine, given the Python: for launchers that start one
            agent a node, which starts the ranks.
        files: lines of the script that write files beforehand; the run directory is the working directory.
    """

    command: Callable[[Start], tuple[Word, ...]]
    schedulers: frozenset[str]
    note: Callable[[Start], str]
    python: Callable[[Start, Word], tuple[Word, ...]] = _plain
    files: Callable[[Start], str] = lambda start: ""


def local(start: Start) -> tuple[Word, ...]:
    """The script itself starts the ranks of this machine."""
    return ()


def srun(start: Start) -> tuple[Word, ...]:
    """Slurm's own launcher; srun does not take the CPUs of a rank from sbatch since 22.05."""
    cores = "--cpus-per-task=" + variable("SLURM_CPUS_PER_TASK")
    return "srun", f"--mpi={start.srun_mpi}", "--kill-on-bad-exit=1", cores


def openmpi(start: Start) -> tuple[Word, ...]:
    """Open MPI's mpirun; version 5 has other words for the placement and for the daemons' network."""
    return _mpirun(start, ())


def openmpi_srun(start: Start) -> tuple[Word, ...]:
    """Open MPI's mpirun, which starts its daemons by a program of ours that calls srun, in place of ssh."""
    four = start.mpi.version == 4
    option, name = ("--mca", "rsh") if four else ("--prtemca", "ssh")
    settings = {"plm": name, "ras": "^slurm", f"plm_{name}_agent": f"bash {SRUN_AGENT}"}
    settings |= {f"plm_{name}_no_tree_spawn": "1"}  # else daemons start daemons, and our program is on one node only
    words = (word for key, value in settings.items() for word in (option, key, value))
    return _mpirun(start, (*words, "--hostfile", HOSTFILE))


def _mpirun(start: Start, daemons: tuple[Word, ...]) -> tuple[Word, ...]:
    four = start.mpi.version == 4
    placement = ("-npernode", f"{start.tasks_per_node}") if four else ("--map-by", f"ppr:{start.tasks_per_node}:node")
    interface = ("--mca", "oob_tcp_if_include") if four else ("--prtemca", "prte_if_include")
    network = (*interface, start.interface, "--mca", "btl_tcp_if_include", start.interface) if start.interface else ()
    variables = (word for name in start.variables for word in ("-x", name))
    words = ("mpirun", "-n", f"{start.ranks}", *placement, "--bind-to", "none")
    return *words, *daemons, *network, *start.mpi.args, *variables


def hydra(start: Start) -> tuple[Word, ...]:
    """The mpiexec of MPICH, MVAPICH and Intel MPI."""
    network = ("-iface", start.interface) if start.interface else ()
    placement = ("-n", f"{start.ranks}", "-ppn", f"{start.tasks_per_node}")
    return "mpiexec.hydra", *placement, *network, "-genvall", *start.mpi.args


def one_a_node(start: Start) -> tuple[Word, ...]:
    """Slurm's launcher for one agent a node, with the CPUs of all its ranks."""
    cores = f"--cpus-per-task={start.tasks_per_node * start.cpus_per_task}"
    tasks = (f"--nodes={start.nodes}", f"--ntasks={start.nodes}", "--ntasks-per-node=1")
    return "srun", "--mpi=none", "--kill-on-bad-exit=1", *tasks, cores


def torchrun(start: Start, python: Word) -> tuple[Word, ...]:
    """Torchrun's agent, which meets the others by c10d at the place that the script chose."""
    return (
        *("sh", agent_path(), python),
        *(f"--nnodes={start.nodes}", f"--nproc-per-node={start.tasks_per_node}", "--rdzv-backend=c10d"),
        "--rdzv-endpoint=" + variable("MASTER_ADDR") + ":" + variable("MASTER_PORT"),
        *("--rdzv-id=" + variable("SLURM_JOB_ID"), "-m"),
    )


def deepspeed(start: Start, python: Word) -> tuple[Word, ...]:
    """DeepSpeed's launcher in the form that needs no ssh: one a node, told its place in the hostfile."""
    return (
        *("sh", agent_path(), python, "--hostfile", hostfile_path(), "--no_ssh", "--no_local_rank", "--quiet"),
        *("--master_addr", variable("MASTER_ADDR"), "--master_port", variable("MASTER_PORT"), "--module"),
    )


_SLURM, _ANYWHERE = frozenset({"slurm"}), frozenset({"slurm", "none"})
_SRUN_NOTES = {
    "none": "srun without MPI: ranks talk by NCCL or gloo.",
    "pmi2": "srun offers PMI-2, which the ranks' MPI speaks.",
    "pmix": "srun offers PMIx, which the ranks' MPI speaks.",
}

LAUNCHERS: Mapping[str, Launcher] = {
    "local": Launcher(local, frozenset({"none"}), lambda start: "One process a rank, started here."),
    "srun": Launcher(
        srun,
        _SLURM,
        lambda start: f"{_SRUN_NOTES[start.srun_mpi]} One that fails ends the step, or its peers would wait for ever.",
    ),
    "openmpi": Launcher(
        openmpi,
        _ANYWHERE,
        lambda start: (
            "mpirun of the host starts the ranks: srun cannot where the program's Open MPI was built without Slurm's"
            " PMI."
        ),
    ),
    "openmpi-srun": Launcher(
        openmpi_srun,
        _SLURM,
        lambda start: "mpirun of the host starts the ranks, and its daemons by srun: it was built without Slurm.",
        files=lambda start: "\n".join([write_hostfile(start.tasks_per_node), WRITE_SRUN_AGENT]),
    ),
    "hydra": Launcher(
        hydra,
        _ANYWHERE,
        lambda start: "mpiexec of the host starts the ranks and hands them this environment.",
    ),
    "torchrun": Launcher(
        one_a_node,
        _SLURM,
        lambda start: "torchrun, one agent a node started by srun; its ranks take a port of their own to meet at.",
        python=torchrun,
        files=lambda start: WRITE_TORCHRUN_AGENT,
    ),
    "deepspeed": Launcher(
        one_a_node,
        _SLURM,
        lambda start: "DeepSpeed's launcher, one a node started by srun, so that it needs neither ssh nor pdsh.",
        python=deepspeed,
        files=lambda start: "\n".join(
            [write_hostfile(start.tasks_per_node), write_deepspeed_agent(start.tasks_per_node)]
        ),
    ),
}
