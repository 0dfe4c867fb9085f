"""The launchers: all that bertjob knows about one, apart from code, is in its row.

The login side builds command lines, predicts what works and reads people's scripts by these rows; the ranks find their
place in the environment by them. The names of the rows are those of config.job.Launcher.
"""

from collections.abc import Mapping

import msgspec

from bertjob.config.job import Family, Launcher
from bertjob.config.registry.launcher_programs import DEEPSPEED, HYDRA, OPEN_MPI, SRUN, TORCHRUN, Program


class RankVariables(msgspec.Struct, frozen=True, kw_only=True):
    """Environment variables by which a launcher tells each rank its place.

    Attributes:
        source: who sets them, for messages.
        rank: number of the rank over all nodes, from 0.
        size: number of ranks over all nodes.
        local_rank: number of the rank on its node, from 0.
        local_size: number of ranks on the node.
        node: number of the node, from 0.
        tasks_per_node: ranks of every node in the order of `node`, like ``4(x8)`` or ``2(x3),1``.
        tasks_of_job: number of tasks that the job asked for; scripts read it as the number of ranks.
        more: other variables whose value differs from rank to rank.
        in_whole_job: set in every process of a job, so that below another launcher they describe that launcher's own
            processes: a rank reads them last.
    """

    source: str
    rank: str
    size: str
    local_rank: str | None = None
    local_size: str | None = None
    node: str | None = None
    tasks_per_node: str | None = None
    tasks_of_job: str | None = None
    more: tuple[str, ...] = ()
    in_whole_job: bool = False

    @property
    def place(self) -> tuple[str, ...]:
        """The variables that tell a rank its place."""
        return tuple(filter(None, (self.rank, self.size, self.local_rank, self.local_size)))

    @property
    def in_scripts(self) -> tuple[str, ...]:
        """The variables in which people's scripts look for a rank's place."""
        return tuple(filter(None, (self.rank, self.local_rank, self.tasks_of_job or self.size)))

    @property
    def per_rank(self) -> tuple[str, ...]:
        """The variables whose value differs from rank to rank, or from node to node."""
        return tuple(filter(None, (self.rank, self.local_rank, self.node, *self.more)))

    @property
    def all(self) -> tuple[str, ...]:
        """Every variable of these."""
        return tuple(dict.fromkeys(filter(None, (*self.place, *self.per_rank, self.tasks_per_node, self.tasks_of_job))))


class LauncherRow(msgspec.Struct, frozen=True, kw_only=True):
    """One launcher.

    Attributes:
        command: "module:function" from launch.launchers.Start to Launch: its part of the job script.
        predict: "module:function" of type launch.pmi.Predict: what becomes of a job under it.
        schedulers: where it works; None: under every scheduler, and without one.
        preference: the lower, the sooner ``auto`` takes it where several work.
        program: the command that starts the ranks, or the agents; None: the job script starts the ranks itself.
        agent: the program that starts the ranks of a node, where `program` starts one agent per node.
        rank_variables: how the ranks learn their place.
        pmi_variables: variables at least one of which is set where it offers the ranks' MPI a PMI.
        leftovers: beginnings of names of variables that mislead a job that is started from inside another one.
        terminal: whether it gives each rank a terminal, also in a batch job: Open MPI's mpirun 4.1 does.
    """

    command: str
    predict: str
    schedulers: frozenset[str] | None
    preference: int
    program: Program | None
    rank_variables: RankVariables
    pmi_variables: tuple[str, ...]
    leftovers: tuple[str, ...]
    agent: Program | None = None
    terminal: bool = False

    def works_under(self, scheduler: str) -> bool:
        """Whether it works on sites with this scheduler, if its program is there."""
        return self.schedulers is None or scheduler in self.schedulers

    @property
    def family(self) -> Family | None:
        """The MPI library that brings it."""
        return self.program.family if self.program else None


TORCH = RankVariables(
    source="torchrun or bertjob",
    rank="RANK",
    size="WORLD_SIZE",
    local_rank="LOCAL_RANK",
    local_size="LOCAL_WORLD_SIZE",
    more=("GROUP_RANK",),
)
SLURM = RankVariables(
    source="Slurm",
    rank="SLURM_PROCID",
    size="SLURM_STEP_NUM_TASKS",
    local_rank="SLURM_LOCALID",
    node="SLURM_NODEID",
    tasks_per_node="SLURM_STEP_TASKS_PER_NODE",
    tasks_of_job="SLURM_NTASKS",
    in_whole_job=True,
)
_OPEN_MPI_RANKS = RankVariables(
    source="Open MPI",
    rank="OMPI_COMM_WORLD_RANK",
    size="OMPI_COMM_WORLD_SIZE",
    local_rank="OMPI_COMM_WORLD_LOCAL_RANK",
    local_size="OMPI_COMM_WORLD_LOCAL_SIZE",
    more=("PMIX_RANK",),
)
_HYDRA_RANKS = RankVariables(
    source="hydra (MPICH, MVAPICH, Intel MPI)",
    rank="PMI_RANK",
    size="PMI_SIZE",
    local_rank="MPI_LOCALRANKID",
    local_size="MPI_LOCALNRANKS",
    more=("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_RANK"),
)

_IN_SLURM = frozenset({"slurm"})

LAUNCHERS: Mapping[Launcher, LauncherRow] = {
    "local": LauncherRow(
        command="bertjob.launch.launchers:local",
        predict="bertjob.launch.pmi:local",
        schedulers=frozenset({"none"}),
        preference=0,
        program=None,
        rank_variables=TORCH,
        pmi_variables=(),
        leftovers=(),
    ),
    "srun": LauncherRow(
        command="bertjob.launch.launchers:srun",
        predict="bertjob.launch.pmi:srun",
        schedulers=_IN_SLURM,
        preference=1,
        program=SRUN,
        rank_variables=SLURM,
        pmi_variables=("PMIX_NAMESPACE", "PMI_FD", "PMI_RANK"),
        leftovers=("SLURM_", "SLURMD_", "PMI_", "PMIX_"),
    ),
    "openmpi": LauncherRow(
        command="bertjob.launch.launchers:openmpi",
        predict="bertjob.launch.pmi:mpirun",
        schedulers=None,
        preference=2,
        program=OPEN_MPI,
        rank_variables=_OPEN_MPI_RANKS,
        pmi_variables=("PMIX_NAMESPACE", "OMPI_COMM_WORLD_RANK"),
        leftovers=("OMPI_", "PMIX_", "PRTE_"),
        terminal=True,
    ),
    "openmpi-srun": LauncherRow(
        command="bertjob.launch.launchers:openmpi_srun",
        predict="bertjob.launch.pmi:mpirun",
        schedulers=_IN_SLURM,
        preference=4,
        program=OPEN_MPI,
        rank_variables=_OPEN_MPI_RANKS,
        pmi_variables=("PMIX_NAMESPACE", "OMPI_COMM_WORLD_RANK"),
        leftovers=("OMPI_", "PMIX_", "PRTE_"),
    ),
    "hydra": LauncherRow(
        command="bertjob.launch.launchers:hydra",
        predict="bertjob.launch.pmi:mpirun",
        schedulers=None,
        preference=3,
        program=HYDRA,
        rank_variables=_HYDRA_RANKS,
        pmi_variables=("PMI_FD", "PMI_RANK"),
        leftovers=("PMI_", "MPI_", "HYDRA_"),
    ),
    "torchrun": LauncherRow(
        command="bertjob.launch.launchers:torchrun",
        predict="bertjob.launch.pmi:agents",
        schedulers=_IN_SLURM,
        preference=5,
        program=SRUN,
        agent=TORCHRUN,
        rank_variables=TORCH,
        pmi_variables=(),
        leftovers=("TORCHELASTIC_",),
    ),
    "deepspeed": LauncherRow(
        command="bertjob.launch.launchers:deepspeed",
        predict="bertjob.launch.pmi:agents",
        schedulers=_IN_SLURM,
        preference=6,
        program=SRUN,
        agent=DEEPSPEED,
        rank_variables=TORCH,
        pmi_variables=(),
        leftovers=(),
    ),
}
"""By `launcher`."""


def family_of(launcher: Launcher | None) -> Family | None:
    """The MPI library that brings a launcher; None for ``auto``, and for launchers that no MPI library brings."""
    row = LAUNCHERS.get(launcher) if launcher else None
    return row.family if row else None


def programs() -> tuple[Program, ...]:
    """The programs that launchers are started by, each once."""
    return tuple({row.program.name: row.program for row in LAUNCHERS.values() if row.program}.values())


def agents() -> tuple[Program, ...]:
    """The programs that start the ranks of one node."""
    return tuple(row.agent for row in LAUNCHERS.values() if row.agent)


def rank_variables() -> tuple[RankVariables, ...]:
    """The variables of all launchers in the order in which a rank looks for them: a whole job's come last."""
    found = dict.fromkeys(row.rank_variables for row in LAUNCHERS.values())
    return tuple(sorted(found, key=lambda variables: variables.in_whole_job))


def place_variables() -> tuple[str, ...]:
    """All variables by which launchers tell a rank its place, without those that a whole job has."""
    return tuple(name for variables in rank_variables() if not variables.in_whole_job for name in variables.place)


def is_leftover(variable: str) -> bool:
    """Whether a variable was left by an enclosing launcher: a rank that reads it takes itself for one of its ranks."""
    return any(variable.startswith(row.leftovers) or variable in row.rank_variables.all for row in LAUNCHERS.values())
