"""Which processes are copies that a launcher has started, by their variables and the processes above them."""

import re

import pytest

from bertjob.cluster.copies import ancestors, problem

STEP = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}
HYDRA = {"PMI_RANK": "0", "PMI_SIZE": "2"}
TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
IN_STEP = ["bash run.sh ", "slurmstepd: [7.0]  "]
IN_BATCH = ["/bin/bash /var/spool/slurmd/job00007/slurm_script ", "slurmstepd: [7.batch]  "]


@pytest.mark.parametrize(
    ("variables", "above", "said"),
    [
        (STEP, IN_STEP, "srun has started this command 2 times .* `bertjob run JOB --ntasks-per-node 2`"),
        (STEP | {"SLURM_STEP_NUM_NODES": "2"}, IN_STEP, "`bertjob submit JOB --nodes 2` from outside"),
        (STEP, ["slurmstepd: [7_2.0] "], "srun has started"),
        (STEP, [], "srun has started"),
        (OPEN_MPI, ["mpirun -np 2 bertjob ", "bash "], "Open MPI has started"),
        (OPEN_MPI, ["/usr/bin/orted -mca ess slurm ", "slurmstepd: [7.1] "], "Open MPI has started"),
        (OPEN_MPI, ["mpirun -np 2 bertjob ", *IN_BATCH], "Open MPI has started"),
        (OPEN_MPI, [], "Open MPI has started"),
        (HYDRA, ["/opt/mpich/bin/hydra_pmi_proxy --control-port ", *IN_BATCH], "hydra .* has started"),
        (HYDRA | STEP, IN_STEP, "srun has started"),
        (TORCHRUN, ["/venv/bin/python /venv/bin/torchrun --no-python ", *IN_BATCH], "torchrun has started"),
    ],
)
def test_a_copy_is_shown_the_right_way(variables: dict[str, str], above: list[str], said: str) -> None:
    assert re.search(said, problem(variables, above))


@pytest.mark.parametrize(
    ("variables", "above"),
    [
        ({}, []),
        (STEP | {"SLURM_STEP_NUM_TASKS": "1"}, IN_STEP),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}, IN_BATCH),
        ({"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "9", "SLURM_PROCID": "0"}, IN_BATCH),
        (STEP, IN_BATCH),
        (STEP, ["bash ", "slurmstepd: [7.interactive] "]),
        (OPEN_MPI | HYDRA | TORCHRUN, IN_BATCH),
        (OPEN_MPI, ["slurmstepd: [7.0] "]),
        ({"WORLD_SIZE": "8", "MASTER_ADDR": "n1"}, []),
        (STEP | {"SLURM_STEP_NUM_TASKS": "x"}, IN_STEP),
    ],
)
def test_one_process_may_train_and_so_may_one_with_variables_of_an_earlier_step(
    variables: dict[str, str], above: list[str]
) -> None:
    assert problem(variables, above) == ""


def test_copies_would_queue_a_job_each() -> None:
    assert problem(STEP, IN_STEP, submits=True) == (
        "srun has started this command 2 times (SLURM_STEP_NUM_TASKS=2), and each would queue the job: start it once,"
        " as `bertjob submit JOB`; several runs are several jobs, or an array"
    )


def test_a_person_in_the_shell_of_a_task_may_train() -> None:
    assert problem(STEP, IN_STEP, started_by_hand=True) == ""
    assert problem(STEP | OPEN_MPI, ["mpirun -np 2 bertjob ", *IN_STEP], started_by_hand=True) != ""


def test_the_processes_above_this_one_begin_with_its_parent() -> None:
    assert ancestors()
