"""What each launcher is told."""

from typing import get_args

from bertjob.launch.launchers import LAUNCHERS, Start
from bertjob.spec.job import Launcher
from bertjob.spec.site import Mpi


def command(launcher: str, mpi: Mpi | None = None, interface: str | None = None) -> str:
    """The words for 4 nodes with 2 ranks each, and the variables A and B."""
    start = Start(4, 2, ("A", "B"), mpi or Mpi(), interface)
    return " ".join(str(word) for word in LAUNCHERS[launcher].command(start))


def test_every_launcher_that_a_job_may_name_has_its_row() -> None:
    assert set(LAUNCHERS) == set(get_args(Launcher))


def test_the_local_launcher_is_the_script() -> None:
    assert command("local") == ""


def test_srun_takes_no_part_in_mpi_ends_with_the_first_failure_and_is_told_the_cores() -> None:
    assert command("srun") == "srun --mpi=none --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK}"


def test_open_mpi_4() -> None:
    assert command("openmpi") == "mpirun -n 8 -npernode 2 --bind-to none -x A -x B"


def test_open_mpi_5() -> None:
    assert command("openmpi", Mpi(version=5)) == "mpirun -n 8 --map-by ppr:2:node --bind-to none -x A -x B"


def test_open_mpi_is_told_the_fabric_for_its_daemons_and_its_messages() -> None:
    assert "--mca oob_tcp_if_include hsn0 --mca btl_tcp_if_include hsn0 " in command("openmpi", interface="hsn0")
    assert "--prtemca prte_if_include hsn0 --mca btl_tcp_if_include hsn0 " in command("openmpi", Mpi(version=5), "hsn0")


def test_the_sites_own_words_for_mpirun_come_before_the_command() -> None:
    assert command("openmpi", Mpi(args=("--mca", "btl", "self,tcp"))).endswith("--mca btl self,tcp -x A -x B")
    assert command("hydra", Mpi(args=("-launcher", "ssh"))).endswith("-launcher ssh")


def test_hydra_hands_on_the_whole_environment() -> None:
    assert command("hydra", interface="hsn0") == "mpiexec.hydra -n 8 -ppn 2 -iface hsn0 -genvall"
