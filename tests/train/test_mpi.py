"""MPI's world against the planned one; tests/on_slurm/test_launchers_on_slurm.py does it with real launchers."""

import threading
from pathlib import Path

import pytest
from run_ranks import job_log, make_run, run_to_end, state

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed.interfaces import shared_addresses
from bertjob.train.distributed.mpi import check, guard, hang, short, would_abort

STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}


def test_the_planned_place_passes() -> None:
    check("Open MPI v5.0.11", 1, 4, World(1, 4, 0, 1, "Slurm"))


def test_ranks_that_mpi_does_not_connect_are_told_which_interfaces_share_an_address() -> None:
    one = {"lo": "127.0.0.1", "eth0": "10.0.0.1", "docker0": "172.17.0.1"}
    shared = shared_addresses([("a", one), ("a", one), ("b", {**one, "eth0": "10.0.0.2"})])
    assert shared == "docker0 (172.17.0.1)"
    assert shared_addresses([("a", one), ("a", one)]) == ""
    assert hang(shared) == (
        "MPI has not connected the ranks within 60 s: these have one address on several nodes, docker0 (172.17.0.1);"
        " set fabric.interface of the site to the network between the nodes"
    )


def test_the_guard_speaks_up_once_and_only_while_it_is_needed() -> None:
    late, quick = threading.Event(), threading.Event()
    with guard(late.set, seconds=0.01):
        assert late.wait(30)
    with guard(quick.set, seconds=60):
        pass
    assert not quick.is_set()


def test_a_silent_singleton_is_stopped_with_the_remedy() -> None:
    with pytest.raises(WorldError) as raised:
        check("MPICH 5.0.2", 0, 1, World(2, 4, 0, 1, "Slurm"))
    assert str(raised.value) == (
        "MPICH 5.0.2 takes every process for rank 0 of 1, the plan has 4 ranks: it does not understand its launcher;"
        " say mpi.family and mpi.slurm of the site, image.mpi of an image, and launcher: auto finds what fits"
    )


def test_another_place_is_stopped() -> None:
    with pytest.raises(WorldError, match=r"for rank 0 of 4, but it is rank 1 of 4 by Slurm"):
        check("Open MPI v5.0.11", 0, 4, World(1, 4, 0, 1, "Slurm"))


@pytest.mark.parametrize(
    ("library", "env", "aborts"),
    [
        ("Open MPI v4.1.4", STEP, True),
        ("Open MPI v4.1.4", {**STEP, "PMIX_NAMESPACE": "slurm.pmix.7.0"}, False),
        ("Open MPI v4.1.4", {**STEP, "OMPI_COMM_WORLD_RANK": "1"}, False),
        ("Open MPI v4.1.4", {}, False),
        ("Open MPI v5.0.11", STEP, False),
        ("MPICH 5.0.2", STEP, False),
    ],
)
def test_open_mpi_4_aborts_in_a_step_of_srun_that_offers_it_nothing(
    library: str, env: dict[str, str], aborts: bool
) -> None:
    assert would_abort(library, env) == aborts


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022\0", "Open MPI v4.1.4"),
        ("MPICH Version:      5.0.2\nMPICH Release date: Mon\nMPICH ABI: 17:0:5\n", "MPICH 5.0.2"),
        ("Intel(R) MPI Library 2021.9 for Linux* OS\n", "Intel(R) MPI Library 2021.9 for Linux* OS"),
    ],
)
def test_a_library_is_named_shortly(version: str, name: str) -> None:
    assert short(version) == name


def no_mpi4py(rank: int) -> None:
    """There is no mpi4py."""
    import sys

    sys.modules["mpi4py"] = None  # type: ignore[assignment]


def test_without_mpi4py_the_job_ends_with_what_is_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", task="smoke", mpi=True)
    assert run_to_end(run, fault=no_mpi4py) == [1]
    assert "mpi: true needs mpi4py and an MPI library for the ranks' Python" in state(run)["error"]
    assert len(job_log(run).splitlines()) == 2
