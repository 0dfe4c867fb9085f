"""Who am I among the ranks: read from the environment that the launcher made, and checked against the plan.

The order of the launchers' variables was measured: under mpirun SLURM_PROCID is wrong (0,0,1,2) and SLURM_NTASKS too,
so Slurm's are read last. Nothing here calls MPI_Init.
"""

from collections.abc import Mapping

import msgspec

from bertjob.config.registry.launchers import RankVariables, rank_variables
from bertjob.errors import WorldError

PLANNED_WORLD = "BERTJOB_WORLD_SIZE"
"""Environment variable with the world size of the plan; the job script sets it."""
JOB_ID = "BERTJOB_JOB_ID"
"""Environment variable with the id under which logs are filed; the job script sets it."""
LOCAL_ID = "local"
"""That id where no scheduler starts the job."""
RESTART = "BERTJOB_RESTART"
"""Environment variable with the number of starts of the job before this one; the job script sets it."""
FORMER_LEASE = "BERTJOB_FORMER_LEASE"
"""Environment variable with the nonce of a holder of the lease that is over, or has started this job."""
SUBMITTED = "BERTJOB_SUBMITTED"
"""Environment variable of the script with the run directory that was made for its job when it was submitted."""
SECRET_FILE = "BERTJOB_SECRET_FILE"
"""Environment variable with the path of the file that holds the secret of this start; the job script sets it."""
NODE_ADDRESS = "BERTJOB_NODE_ADDRESS"
"""Environment variable with the scheduler's address of the first node, for nodes on which its name does not resolve."""
FAST_FABRIC = "BERTJOB_FAST_FABRIC"
"""Environment variable with the name of a fabric on which TCP is a fault; the job script sets it."""


class World(msgspec.Struct, frozen=True):
    """One rank's place.

    Attributes:
        rank: 0 … size - 1 over all nodes.
        size: ranks over all nodes.
        local_rank: 0 … local_size - 1 on this node; also the index of its GPU.
        local_size: ranks on this node.
        source: whose variables said so, for messages.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    source: str


def world_from(env: Mapping[str, str]) -> World:
    """The rank's place in the world by its environment; one rank alone where no launcher left its variables.

    Raises:
        WorldError: a launcher's variables are there but make no sense.
    """
    # srun --mpi=pmi2 leaves PMI_RANK as hydra does, but only Slurm's own variables then tell the place on the node.
    for variables in sorted(rank_variables(), key=lambda one: one.local_rank is not None and one.local_rank not in env):
        if variables.rank in env and variables.size in env:
            return _read(variables, env)
    return World(0, 1, 0, 1, "no launcher")


def _read(variables: RankVariables, env: Mapping[str, str]) -> World:
    def number(name: str | None, default: int) -> int:
        text = env.get(name, "") if name else ""
        if text == "":
            return default
        if not text.isdecimal():
            raise WorldError(f"{name}={text!r} is no number: the launcher's environment is broken")
        return int(text)

    rank, size = number(variables.rank, 0), number(variables.size, 1)
    if size < 1 or rank >= size:
        raise WorldError(
            f"{variables.rank}={rank} is outside of {variables.size}={size}: the launcher's environment is broken"
        )
    local_rank = number(variables.local_rank, 0)
    local_size = number(variables.local_size, _ranks_of_node(variables, env))
    return World(rank, size, local_rank, max(local_size, local_rank + 1), variables.source)


def _ranks_of_node(variables: RankVariables, env: Mapping[str, str]) -> int:
    """Ranks on this node from a list of those of all nodes, e.g. ``4(x8)`` or ``2(x3),1``; 1 without such a list."""
    node = int(env.get(variables.node or "", "0") or 0)
    for part in env.get(variables.tasks_per_node or "", "").split(","):
        tasks, _, times = part.rstrip(")").partition("(x")
        repeat = int(times) if times.isdecimal() else 1
        if node < repeat:
            return int(tasks) if tasks.isdecimal() else 1
        node -= repeat
    return 1


def check_world(world: World, env: Mapping[str, str]) -> None:
    """Stop a rank whose world is not the planned one: silent singletons would train N copies over each other.

    Raises:
        WorldError: the sizes differ; says both and what usually causes it.
    """
    planned = env.get(PLANNED_WORLD, "")
    if not planned or planned == str(world.size):
        return
    cause = (
        "every process became a singleton: the launcher and the program's MPI or PMI do not fit"
        if world.size == 1
        else "the launcher started another number of ranks than the script asked for"
    )
    raise WorldError(
        f"the plan has {planned} ranks, this process is rank {world.rank} of {world.size} (by {world.source}): {cause}"
    )
