"""Ranks by the variables that launchers really leave, as seen on four nodes."""

import pytest

from bertjob.errors import WorldError
from bertjob.rundir.world import PLANNED_WORLD, World, check_world, world_from

# The third of four processes, one a node, as printed by each launcher.
SRUN = {
    "SLURM_PROCID": "2",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "1(x4)",
}
MPIRUN = {
    "OMPI_COMM_WORLD_RANK": "2",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
    "SLURM_PROCID": "1",  # wrong under mpirun, and so is the number of tasks
    "SLURM_NTASKS": "3",
    "SLURM_STEP_NUM_TASKS": "3",
}
HYDRA = {"PMI_RANK": "2", "PMI_SIZE": "4", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "1", "SLURM_PROCID": "2"}
SCRIPT = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}


def test_under_srun_with_pmi2_slurm_tells_the_place_on_the_node() -> None:
    two_a_node = {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
    env = {**two_a_node, "SLURM_STEP_TASKS_PER_NODE": "2(x2)", "PMI_RANK": "3", "PMI_SIZE": "4"}
    assert world_from(env) == World(3, 4, 1, 2, "Slurm")


@pytest.mark.parametrize("env", [SRUN, MPIRUN, HYDRA], ids=["srun", "mpirun", "hydra"])
def test_the_third_of_four_processes_on_four_nodes(env: dict[str, str]) -> None:
    world = world_from(env)
    assert (world.rank, world.size, world.local_rank, world.local_size) == (2, 4, 0, 1)


def test_the_third_of_four_processes_on_this_machine() -> None:
    assert world_from(SCRIPT) == World(2, 4, 2, 4, "torchrun or bertjob")


@pytest.mark.parametrize(
    ("tasks", "node", "local_size"), [("2(x4)", 3, 2), ("4,2(x2),1", 0, 4), ("4,2(x2),1", 2, 2), ("4,2(x2),1", 3, 1)]
)
def test_slurm_tells_the_tasks_of_each_node(tasks: str, node: int, local_size: int) -> None:
    env = SRUN | {"SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_NODEID": str(node)}
    assert world_from(env).local_size == local_size


def test_a_process_without_a_launcher_is_alone() -> None:
    assert world_from({"PATH": "/bin"}) == World(0, 1, 0, 1, "no launcher")


def test_the_batch_script_itself_is_no_rank() -> None:
    assert world_from({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}).size == 1


@pytest.mark.parametrize("wrong", [{"OMPI_COMM_WORLD_RANK": "x"}, {"OMPI_COMM_WORLD_RANK": "4"}])
def test_an_environment_that_makes_no_sense_is_an_error(wrong: dict[str, str]) -> None:
    with pytest.raises(WorldError, match="OMPI_COMM_WORLD_RANK"):
        world_from(MPIRUN | wrong)


def test_the_planned_world_passes() -> None:
    check_world(world_from(SRUN), {PLANNED_WORLD: "4"})
    check_world(world_from(SRUN), {})


def test_silent_singletons_are_stopped() -> None:
    with pytest.raises(WorldError, match=r"the plan has 4 ranks, this process is rank 0 of 1 .*singleton"):
        check_world(world_from({}), {PLANNED_WORLD: "4"})


def test_another_number_of_ranks_is_stopped() -> None:
    with pytest.raises(WorldError, match=r"the plan has 8 ranks, this process is rank 2 of 4 \(by Slurm\)"):
        check_world(world_from(SRUN), {PLANNED_WORLD: "8"})
