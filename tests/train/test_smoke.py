"""The launch proof: what it says of ranks that work, and whom it names where something does not."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_ranks import finish, job_log, make_run, run_to_end, start, state, wait_for

from bertjob.rundir.proof import Proof, read_proof
from bertjob.train.tasks import smoke

HOST = socket.gethostname()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", task="smoke", launcher="local", engine="none", data={}, model={})


def proof_of(run: Path) -> Proof:
    proof = read_proof(run / "proof.json")
    assert proof is not None
    return proof


def test_two_ranks_prove_that_they_talk_and_see_the_same_files(run: Path) -> None:
    assert run_to_end(run, 2) == [0, 0]
    proof = proof_of(run)
    assert (proof.launcher, proof.engine, proof.job_id, proof.srun_mpi) == ("local", "none", "local", "")
    assert [(rank.rank, rank.host, rank.device[:3], rank.gpus) for rank in proof.ranks] == [
        (0, HOST, "cpu", ()),
        (1, HOST, "cpu", ()),
    ]
    assert proof.hosts == (HOST,)
    assert proof.warnings == ()
    assert all(abs(rank.clock_offset) < 0.5 for rank in proof.ranks)
    sizes = [one.bytes for one in proof.all_reduces]
    assert sizes[:2] == [1024, 1 << 20]
    assert sizes == sorted(sizes)
    for one in proof.all_reduces:  # with two ranks the bus carries as many bytes as the message has
        assert one.bandwidth == pytest.approx(one.bytes / one.seconds)
    assert proof.bandwidth == max(one.bandwidth for one in proof.all_reduces)
    assert (state(run)["phase"], state(run)["exit_code"]) == ("done", 0)
    said = job_log(run).splitlines()
    assert said[1] == "2 ranks on 1 node, by gloo"
    assert said[-1] == f"done: the proof is in {run}/proof.json"
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


def test_one_rank_has_nobody_to_talk_to(run: Path) -> None:
    assert run_to_end(run) == [0]
    assert proof_of(run).all_reduces == ()
    assert proof_of(run).bandwidth is None


def test_each_start_proves_anew(run: Path) -> None:
    assert run_to_end(run) == [0]
    first = proof_of(run)
    assert run_to_end(run) == [0]
    assert proof_of(run).time > first.time


def blind(rank: int) -> None:
    """Rank 1 does not see what rank 0 writes."""
    smoke._FILE_SECONDS = 0.2
    if rank == 1:
        smoke._holds = lambda *_: False


def test_a_rank_that_does_not_see_rank_0s_file_is_named(run: Path) -> None:
    assert run_to_end(run, 2, fault=blind) == [1, 1]
    told = (
        f"{run}: a file that rank 0 on {HOST} wrote is not there for rank 1 ({HOST}):"
        " the folder is not on a shared file system"
    )
    assert state(run)["error"] == told
    assert job_log(run).count(told) == 1
    assert not (run / "proof.json").exists()


def late(rank: int) -> None:
    """The clock of rank 1 is five seconds ahead."""
    if rank == 1:
        real = time.time
        time.time = lambda: real() + 5


def test_clocks_that_differ_are_a_warning(run: Path) -> None:
    assert run_to_end(run, 2, fault=late) == [0, 0]
    proof = proof_of(run)
    assert proof.ranks[1].clock_offset == pytest.approx(5, abs=0.3)
    assert proof.warnings == (f"the clock of {HOST} is +5.0 s off rank 0's",)
    assert f"warning: {proof.warnings[0]}" in job_log(run)


def slow(rank: int) -> None:
    """Each look for the file takes long."""
    smoke._holds = lambda *_: time.sleep(1)


def test_a_signal_ends_it_at_once(run: Path) -> None:
    (rank,) = start(run, fault=slow)
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == "proving")
    assert rank.pid is not None
    os.kill(rank.pid, signal.SIGUSR1)
    assert finish([rank], 10) == [85]


def test_it_needs_nothing_of_a_training() -> None:
    told = "import bertjob.train.main, bertjob.train.tasks.smoke, sys; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", told], check=False).returncode == 0
