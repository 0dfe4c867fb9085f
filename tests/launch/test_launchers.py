"""What each launcher is told."""

import os
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from bertjob.config.job import Launcher, SrunMpi
from bertjob.config.site import Mpi
from bertjob.launch.launchers import Launch, Start, launch


def launched(
    launcher: Launcher, mpi: Mpi | None = None, interface: str | None = None, srun_mpi: SrunMpi = "none"
) -> Launch:
    """On 4 nodes with 2 ranks each of 6 cores, and the variables A and B."""
    return launch(launcher, Start(4, 2, 6, ("A", "B"), "python", mpi or Mpi(), interface, srun_mpi))


def command(launcher: Launcher, mpi: Mpi | None = None, interface: str | None = None) -> str:
    return " ".join(map(str, launched(launcher, mpi, interface).words))


def program(launcher: Launcher) -> str:
    return " ".join(map(str, launched(launcher).python))


def test_the_local_launcher_is_the_script() -> None:
    assert command("local") == ""


def test_srun_takes_no_part_in_mpi_ends_with_the_first_failure_and_is_told_the_cores() -> None:
    assert command("srun") == "srun --mpi=none --kill-on-bad-exit=1 --cpus-per-task=${SLURM_CPUS_PER_TASK}"


@pytest.mark.parametrize("kind", get_args(SrunMpi))
def test_srun_offers_the_pmi_that_it_is_told_and_the_note_names_it(kind: SrunMpi) -> None:
    srun = launched("srun", srun_mpi=kind)
    assert f"--mpi={kind}" in srun.words
    assert {"none": "without MPI", "pmi2": "PMI-2", "pmix": "PMIx"}[kind] in srun.note


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


def test_open_mpi_starts_its_daemons_by_a_program_that_calls_srun() -> None:
    settings = "--mca plm rsh --mca ras ^slurm --mca plm_rsh_agent bash srun-agent --mca plm_rsh_no_tree_spawn 1"
    assert f"--bind-to none {settings} --hostfile hostfile -x A -x B" in command("openmpi-srun")
    settings = settings.replace("--mca", "--prtemca").replace("rsh", "ssh")
    assert f"--bind-to none {settings} --hostfile hostfile -x A -x B" in command("openmpi-srun", Mpi(version=5))


@pytest.mark.parametrize("launcher", ["openmpi-srun", "deepspeed"])
def test_a_hostfile_has_all_ranks_of_each_node(launcher: Launcher) -> None:
    assert "scontrol show hostnames \"$SLURM_JOB_NODELIST\" | sed 's/$/ slots=2/' > hostfile" in (
        launched(launcher).files
    )


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_one_agent_a_node_gets_the_cores_of_all_its_ranks(launcher: Launcher) -> None:
    tasks = "--nodes=4 --ntasks=4 --ntasks-per-node=1 --cpus-per-task=12"
    assert command(launcher) == f"srun --mpi=none --kill-on-bad-exit=1 {tasks}"
    assert "trap '' USR1" in launched(launcher).files


def test_agents_of_torchrun_meet_without_c10d_and_the_ranks_at_the_port_that_the_script_says() -> None:
    meeting = "--nnodes=4 --nproc-per-node=2 --rdzv-conf=timeout=90"
    ranks = "--no-python env MASTER_PORT=${MASTER_PORT} python -u -m"
    assert program("torchrun") == f"sh ${{RUN}}/agent python ${{AGENTS_PORT}} 2 {meeting} {ranks}"


@pytest.mark.parametrize("node", ["0", "3"])
def test_an_agent_of_torchrun_is_told_its_place(tmp_path: Path, node: str) -> None:
    """By its name alone it would not know, where the script says the first node's name on the fabric."""
    before = "set -eu\nMASTER_PORT=23456\ntaken() { [ $1 -lt 13458 ]; }"
    lines = f"{before}\n{launched('torchrun').files}\necho $AGENTS_PORT"
    made = subprocess.run(["bash", "-c", lines], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert made.stdout == "13458\n"
    python = tmp_path / "python"  # which says how it was called, and where the first agent is
    python.write_text('#!/bin/sh\necho "$*" >&2; case $* in *reach*) [ "$6" = 13458 ] && echo 10.0.0.1;; esac\n')
    python.chmod(0o755)

    def agent(port: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", tmp_path / "agent", python, port, "2", "--nnodes=4"],
            env={"SLURM_NODEID": node, "MASTER_ADDR": "nid00001", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )

    asked, started = agent("13458").stderr.splitlines()
    assert asked == f"-m bertjob.train.distributed.reach {node} 2 nid00001 13458"
    meeting = "--master-addr 10.0.0.1 --master-port 13458"
    assert started == f"-u -m torch.distributed.run --node-rank {node} {meeting} --nnodes=4"
    unreachable = agent("1")
    assert unreachable.returncode == 1
    assert "torch.distributed.run" not in unreachable.stderr


def test_deepspeeds_launcher_uses_no_ssh_and_adds_no_argument() -> None:
    assert program("deepspeed") == (
        "sh ${RUN}/agent python --hostfile ${RUN}/hostfile --no_ssh --no_local_rank --quiet"
        " --master_addr ${MASTER_ADDR} --master_port ${MASTER_PORT} --module"
    )


@pytest.mark.parametrize("launcher", ["local", "srun", "openmpi", "openmpi-srun", "hydra"])
def test_other_launchers_start_the_ranks_themselves(launcher: Launcher) -> None:
    assert program(launcher) == "python -u -m"
