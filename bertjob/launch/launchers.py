"""Command lines of the launchers, which start the ranks on all nodes.

Each launcher is a function from `Start` to `Launch` here, and a row in config.registry.launchers that names it.
"""

from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from bertjob.config.job import Launcher, SrunMpi
from bertjob.config.registry.code import load_code
from bertjob.config.registry.launcher_programs import HYDRA, OPEN_MPI, SRUN
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.site import Mpi
from bertjob.launch.argv import Word, variable

_HOSTFILE = "hostfile"
"""Name of the list of hosts, which Open MPI and DeepSpeed read alike."""
_SRUN_AGENT = "srun-agent"
"""Name of the program that mpirun calls in place of ssh. By its bare name, as Open MPI splits the value at blanks."""
_AGENT = "agent"
"""Name of the program that starts torchrun or DeepSpeed's launcher on a node."""
FILES = (_HOSTFILE, _SRUN_AGENT, _AGENT)
"""Names of what launchers have the script write into the run directory."""

_WRITE_SRUN_AGENT = f"""
# What mpirun calls as it would call ssh: HOST COMMAND, the command for a shell.
cat > {_SRUN_AGENT} << 'END_OF_AGENT'
host=$1
shift
exec srun --quiet --overlap --mpi=none --cpu-bind=none -N1 -n1 --ntasks-per-node=1 -w "$host" /bin/sh -c "$*"
END_OF_AGENT
""".strip()

_IGNORES = f"""
# USR1 is for the ranks, which srun tells of it as well; it would end the agent that starts them.
cat > {_AGENT} << 'END_OF_AGENT'
trap '' USR1
""".strip()

_WRITE_TORCHRUN_AGENT = f"""
# The agents meet at a port of their own, with the store that torchrun keeps for them.
AGENTS_PORT=$((MASTER_PORT - 10000))
while taken "$AGENTS_PORT"; do AGENTS_PORT=$((AGENTS_PORT + 1)); done
{_IGNORES}
python=$1 port=$2 ranks=$3
shift 3
first=$("$python" -m bertjob.train.distributed.reach "$SLURM_NODEID" "$ranks" "$MASTER_ADDR" "$port") || exit
exec "$python" -u -m torch.distributed.run --node-rank "$SLURM_NODEID" --master-addr "$first" --master-port "$port" "$@"
END_OF_AGENT
""".strip()
_SRUN_NOTES: Mapping[SrunMpi, str] = {
    "none": "srun without MPI: ranks talk by NCCL or gloo.",
    "pmi2": "srun offers PMI-2, which the ranks' MPI speaks.",
    "pmix": "srun offers PMIx, which the ranks' MPI speaks.",
}


def _write_hostfile(tasks_per_node: int) -> str:
    """The nodes in Slurm's order, each with its number of ranks."""
    return f"scontrol show hostnames \"$SLURM_JOB_NODELIST\" | sed 's/$/ slots={tasks_per_node}/' > {_HOSTFILE}"


def _write_deepspeed_agent(tasks_per_node: int) -> str:
    """The node's place in the hostfile is known inside the step only."""
    return f"""
{_IGNORES}
python=$1
shift
export LOCAL_WORLD_SIZE={tasks_per_node} # which this launcher leaves out
exec "$python" -u -m deepspeed.launcher.runner --node_rank "$SLURM_NODEID" "$@"
END_OF_AGENT
""".strip()


def _agent_path() -> Word:
    """The agent as a command inside a container finds it."""
    return variable("RUN") + f"/{_AGENT}"


def _hostfile_path() -> Word:
    """The hostfile as a command inside a container finds it."""
    return variable("RUN") + f"/{_HOSTFILE}"


class Start(msgspec.Struct, frozen=True):
    """What a launcher needs to know.

    Attributes:
        nodes: number of nodes.
        tasks_per_node: number of ranks on each node.
        cpus_per_task: number of CPU cores of each rank.
        variables: names of environment variables that must reach the ranks.
        python: the Python of the ranks, as a command inside the container.
        mpi: the host's mpirun or mpiexec.
        interface: network interface of the fabric.
        srun_mpi: the PMI that srun offers the ranks.
    """

    nodes: int
    tasks_per_node: int
    cpus_per_task: int
    variables: tuple[str, ...]
    python: Word
    mpi: Mpi
    interface: str | None
    srun_mpi: SrunMpi = "none"

    @property
    def ranks(self) -> int:
        """The world size."""
        return self.nodes * self.tasks_per_node


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A launcher's part of the job script.

    Attributes:
        words: the words before engine and program; none: the script starts the ranks itself.
        note: comment in the script: why this launcher, and its options.
        python: the words before the name of the program's module, inside the engine.
        files: lines of the script that write files beforehand; the run directory is the working directory.
    """

    words: tuple[Word, ...]
    note: str
    python: tuple[Word, ...]
    files: str = ""


def launch(launcher: Launcher, start: Start) -> Launch:
    """The part of the job script that starts its ranks."""
    command = cast("Callable[[Start], Launch]", load_code(LAUNCHERS[launcher].command))
    return command(start)


def _module(start: Start) -> tuple[Word, ...]:
    """Python with a module, for launchers whose processes are the ranks."""
    return start.python, "-u", "-m"


def local(start: Start) -> Launch:
    """The script itself starts the ranks of this machine."""
    return Launch(words=(), note="One process a rank, started here.", python=_module(start))


def srun(start: Start) -> Launch:
    """Slurm's own launcher; srun does not take the CPUs of a rank from sbatch since 22.05."""
    cores = "--cpus-per-task=" + variable("SLURM_CPUS_PER_TASK")
    return Launch(
        words=(SRUN.name, f"--mpi={start.srun_mpi}", "--kill-on-bad-exit=1", cores),
        note=f"{_SRUN_NOTES[start.srun_mpi]} One that fails ends the step, or its peers would wait for ever.",
        python=_module(start),
    )


def openmpi(start: Start) -> Launch:
    """Open MPI's mpirun; version 5 has other words for the placement and for the daemons' network."""
    return Launch(
        words=_mpirun(start, ()),
        note=(
            "mpirun of the host starts the ranks: srun cannot where the program's Open MPI was built without Slurm's"
            " PMI."
        ),
        python=_module(start),
    )


def openmpi_srun(start: Start) -> Launch:
    """Open MPI's mpirun, which starts its daemons by a program of ours that calls srun, in place of ssh."""
    four = start.mpi.version == 4
    option, name = ("--mca", "rsh") if four else ("--prtemca", "ssh")
    settings = {"plm": name, "ras": "^slurm", f"plm_{name}_agent": f"bash {_SRUN_AGENT}"}
    settings |= {f"plm_{name}_no_tree_spawn": "1"}  # else daemons start daemons, and our program is on one node only
    daemons = (word for key, value in settings.items() for word in (option, key, value))
    return Launch(
        words=_mpirun(start, (*daemons, "--hostfile", _HOSTFILE)),
        note="mpirun of the host starts the ranks, and its daemons by srun: it was built without Slurm.",
        python=_module(start),
        files="\n".join([_write_hostfile(start.tasks_per_node), _WRITE_SRUN_AGENT]),
    )


def _mpirun(start: Start, daemons: tuple[Word, ...]) -> tuple[Word, ...]:
    four = start.mpi.version == 4
    placement = ("-npernode", f"{start.tasks_per_node}") if four else ("--map-by", f"ppr:{start.tasks_per_node}:node")
    interface = ("--mca", "oob_tcp_if_include") if four else ("--prtemca", "prte_if_include")
    network = (*interface, start.interface, "--mca", "btl_tcp_if_include", start.interface) if start.interface else ()
    variables = (word for name in start.variables for word in ("-x", name))
    words = (OPEN_MPI.name, "-n", f"{start.ranks}", *placement, "--bind-to", "none")
    return *words, *daemons, *network, *start.mpi.args, *variables


def hydra(start: Start) -> Launch:
    """The mpiexec of MPICH, MVAPICH and Intel MPI."""
    network = ("-iface", start.interface) if start.interface else ()
    placement = ("-n", f"{start.ranks}", "-ppn", f"{start.tasks_per_node}")
    return Launch(
        words=(HYDRA.name, *placement, *network, "-genvall", *start.mpi.args),
        note="mpiexec of the host starts the ranks and hands them this environment.",
        python=_module(start),
    )


def torchrun(start: Start) -> Launch:
    """Torchrun's agents, one per node, which are told each other's place.

    The rendezvous is torchrun's static one: that of c10d unpickles what it finds in its store, which anyone who reaches
    its port may write to (elastic/rendezvous/dynamic_rendezvous.py of torch 2.13). It tells the ranks its own port.
    """
    return Launch(
        words=_agents(start),
        note="torchrun, one agent a node started by srun; the ranks meet at a port of their own.",
        python=(
            *("sh", _agent_path(), start.python, variable("AGENTS_PORT"), str(start.tasks_per_node)),
            # The agents have found each other by then, or ended.
            *(f"--nnodes={start.nodes}", f"--nproc-per-node={start.tasks_per_node}", "--rdzv-conf=timeout=90"),
            *("--no-python", "env", "MASTER_PORT=" + variable("MASTER_PORT"), start.python, "-u", "-m"),
        ),
        files=_WRITE_TORCHRUN_AGENT,
    )


def deepspeed(start: Start) -> Launch:
    """DeepSpeed's launcher in the form that needs no ssh: one per node, given its place in the hostfile."""
    return Launch(
        words=_agents(start),
        note="DeepSpeed's launcher, one a node started by srun, so that it needs neither ssh nor pdsh.",
        python=(
            *("sh", _agent_path(), start.python),
            *("--hostfile", _hostfile_path(), "--no_ssh", "--no_local_rank", "--quiet"),
            *("--master_addr", variable("MASTER_ADDR"), "--master_port", variable("MASTER_PORT"), "--module"),
        ),
        files="\n".join([_write_hostfile(start.tasks_per_node), _write_deepspeed_agent(start.tasks_per_node)]),
    )


def _agents(start: Start) -> tuple[Word, ...]:
    """Slurm's launcher for one agent per node, with the CPUs of all its ranks."""
    cores = f"--cpus-per-task={start.tasks_per_node * start.cpus_per_task}"
    tasks = (f"--nodes={start.nodes}", f"--ntasks={start.nodes}", "--ntasks-per-node=1")
    return SRUN.name, "--mpi=none", "--kill-on-bad-exit=1", *tasks, cores
