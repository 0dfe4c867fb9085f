"""Who am I among the ranks: read from the environment that the launcher made, and checked against the plan.

The order of the table was measured: under mpirun SLURM_PROCID is wrong (0,0,1,2) and SLURM_NTASKS too, so the
launchers' own variables are asked first and Slurm's last. Nothing here calls MPI_Init.
"""

from collections.abc import Mapping

import msgspec

from bertjob.errors import WorldError

PLANNED_WORLD = "BERTJOB_WORLD_SIZE"
"""Environment variable with the world size of the plan; the job script sets it."""
JOB_ID = "BERTJOB_JOB_ID"
"""Environment variable with the id under which logs are filed; the job script sets it."""
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


class _Table(msgspec.Struct, frozen=True):
    source: str
    rank: str
    size: str
    local_rank: str
    local_size: str | None


_TABLES = (
    _Table("torchrun or bertjob", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    _Table("Open MPI", *(f"OMPI_COMM_WORLD_{what}" for what in ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE"))),
    _Table("hydra (MPICH, MVAPICH, Intel MPI)", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    _Table("Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", None),
)
PLACE = tuple(
    name
    for table in _TABLES
    for name in (table.rank, table.size, table.local_rank, table.local_size)
    if name and table.source != "Slurm"
)
"""Variables by which launchers other than Slurm's tell a rank its place."""


def world_from(env: Mapping[str, str]) -> World:
    """The rank's place in the world by its environment; one rank alone where no launcher left its variables.

    Raises:
        WorldError: a launcher's variables are there but make no sense.
    """
    # srun --mpi=pmi2 leaves PMI_RANK as hydra does, but only Slurm's own variables then tell the place on the node.
    for table in sorted(_TABLES, key=lambda table: table.local_rank not in env):
        if table.rank in env and table.size in env:
            return _read(table, env)
    return World(0, 1, 0, 1, "no launcher")


def _read(table: _Table, env: Mapping[str, str]) -> World:
    def number(name: str | None, default: int) -> int:
        text = env.get(name, "") if name else ""
        if text == "":
            return default
        if not text.isdecimal():
            raise WorldError(f"{name}={text!r} is no number: the launcher's environment is broken")
        return int(text)

    rank, size = number(table.rank, 0), number(table.size, 1)
    if size < 1 or rank >= size:
        raise WorldError(f"{table.rank}={rank} is outside of {table.size}={size}: the launcher's environment is broken")
    local_rank = number(table.local_rank, 0)
    local_size = number(table.local_size, _slurm_local_size(env) if table.source == "Slurm" else 1)
    return World(rank, size, local_rank, max(local_size, local_rank + 1), table.source)


def _slurm_local_size(env: Mapping[str, str]) -> int:
    """Tasks on this node from SLURM_STEP_TASKS_PER_NODE, e.g. ``4(x8)`` or ``2(x3),1``, at SLURM_NODEID."""
    node = int(env.get("SLURM_NODEID", "0") or 0)
    for part in env.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
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
