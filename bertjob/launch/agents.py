"""Small files that a script writes into the run directory for launchers that start the ranks by a program of their own.

The blocks are bash as it stands in the script, whose working directory is the run directory.
"""

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


def path() -> Word:
    """The agent as a command inside a container finds it."""
    return variable("RUN") + f"/{AGENT}"


def hostfile() -> Word:
    """The hostfile as a command inside a container finds it."""
    return variable("RUN") + f"/{HOSTFILE}"
