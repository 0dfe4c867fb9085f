"""Who reaches rank 0's port without the secret runs no code, changes no value and ends no run as completed."""

import os
import pickle
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
import run_faults
import torch
import torch.distributed as dist
from run_ranks import (
    finish,
    free_port,
    job_log,
    lines,
    losses,
    make_run,
    run_to_end,
    start,
    start_rank,
    state,
    wait_for,
)
from strangers import DEEDS, Code, Stranger

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed import peers, rendezvous
from bertjob.train.distributed.ranks import refuse_pickles

WARNING = "warning: a stranger writes to the store in which the ranks meet; what it writes is ignored"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("undisturbed") / "run")
    assert run_to_end(run, 2) == [0, 0], job_log(run)
    return run


def visited(run: Path, deeds: Sequence, *, stop: bool) -> list[int | None]:
    """Run two ranks with a stranger who does `deeds` while they train; after them USR1 comes, if it shall stop."""
    port, known = free_port(), len(lines(run))
    ranks = start(run, 2, env={"MASTER_PORT": str(port)}, fault=run_faults.slow_steps)
    wait_for(lambda: len(lines(run)) > known)
    stranger = Stranger(port, run)
    for deed in deeds:
        deed(stranger)
    if stop:
        os.kill(ranks[1].pid, signal.SIGUSR1)
    codes = finish(ranks)
    assert not stranger.mark.exists()
    return codes


def check_same(run: Path, undisturbed: Path) -> None:
    """The run has come to the very end of one without a stranger."""
    assert losses(run) == losses(undisturbed)
    for name in ("model/model.safetensors", "eval.json", "predictions.json"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes()


def test_a_run_with_a_stranger_stops_resumes_and_ends_bitwise_like_one_without(undisturbed, tmp_path):
    run = make_run(tmp_path / "run", checkpoint__every_steps=100)
    assert visited(run, DEEDS, stop=True) == [85, 85], job_log(run)
    assert state(run)["phase"] == "checkpointed"
    assert visited(run, DEEDS, stop=False) == [0, 0], job_log(run)
    check_same(run, undisturbed)
    assert job_log(run).count(WARNING) <= 2  # once a start, if it reads what the stranger wrote
    assert not list((run / "logs").glob(".secret-*"))


@pytest.mark.faults
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("backend", ["torch", "deepspeed"])
def test_no_deed_of_a_stranger_changes_a_run(undisturbed, tmp_path, backend, deed, stop):
    reference = undisturbed
    if backend == "deepspeed":
        reference = make_run(tmp_path / "reference", backend=backend)
        assert run_to_end(reference, 2) == [0, 0]
    run = make_run(tmp_path / "run", backend=backend)
    if stop:
        assert visited(run, [deed], stop=True) == [85, 85], job_log(run)
    assert visited(run, [deed], stop=False) == [0, 0], job_log(run)
    check_same(run, reference)


def test_a_failure_is_told_though_a_stranger_has_said_completed(tmp_path):
    run = make_run(tmp_path / "run", train__max_steps=200)
    port = free_port()
    ranks = start(run, 2, env={"MASTER_PORT": str(port)}, fault=run_faults.slow_steps)
    wait_for(lambda: lines(run))
    Stranger(port, run).end_as_completed()
    ranks[1].kill()
    assert finish(ranks) == [1, -signal.SIGKILL]
    assert state(run)["phase"] == "failed"
    assert "rank 1" in state(run)["error"]


def test_a_stranger_who_comes_as_rank_1_before_it_is_none_of_the_ranks(undisturbed, tmp_path):
    run = make_run(tmp_path / "run")
    port = free_port()
    env = {"MASTER_PORT": str(port), "MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    rank_0 = start_rank(run, {**env, "RANK": "0", "LOCAL_RANK": "0"})
    secret = tmp_path / "another"
    secret.write_bytes(os.urandom(32))
    secret.chmod(0o600)
    told: list[str] = []

    def come() -> None:
        """Take part with all the project's own code."""
        own = {**env, "BERTJOB_CONNECT_SECONDS": "20", "BERTJOB_SECRET_FILE": str(secret)}
        world = World(1, 2, 1, 2, "test")
        try:
            meeting = rendezvous.meet(world, own, f"bertjob/local/{run}", tmp_path / "unused")
            peers.gather(meeting.store, world, meeting.place, 10, str)
        except WorldError as error:
            told.append(str(error))

    stranger = threading.Thread(target=come)
    stranger.start()
    wait_for(lambda: Stranger(port, run).table.check(["place/1"]))
    rank_1 = start_rank(run, {**env, "RANK": "1", "LOCAL_RANK": "1"})
    assert finish([rank_0, rank_1]) == [0, 0], job_log(run)
    stranger.join()
    assert told == ["rank 0 went away while the ranks gathered"]
    check_same(run, undisturbed)


def test_a_stranger_in_the_place_of_a_rank_that_never_comes_is_named_in_one_line_each(tmp_path):
    run = make_run(tmp_path / "run")
    port = free_port()
    env = {"MASTER_PORT": str(port), "MASTER_ADDR": "127.0.0.1", "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    rank = start_rank(run, {**env, "LOCAL_WORLD_SIZE": "2", "BERTJOB_CONNECT_SECONDS": "5"})
    stranger = Stranger(port, run)
    stranger.signed.set("place/1", stranger.table.get("place/0")[32:])
    assert finish([rank]) == [1]
    assert job_log(run).splitlines()[1:] == [WARNING, "rank 1 of 2 did not answer within 5 s"]


def test_pickles_between_ranks_are_refused_and_not_run(tmp_path):
    """As from a stranger who has come between two ranks' gloo connections, which nothing authenticates."""
    run = make_run(tmp_path / "run")
    assert run_to_end(run, 2, fault=run_faults.pickles_from_rank_1) == [1, 1]
    assert "rank 1 sent what is not expected here" in state(run)["error"]
    assert "Traceback" not in job_log(run)
    assert not (run / "code-ran").exists()


def test_torchs_object_collectives_are_refused_in_every_library(monkeypatch, tmp_path):
    monkeypatch.setattr(dist.distributed_c10d, "_unpickler", dist.distributed_c10d._unpickler)
    refuse_pickles()
    code = torch.frombuffer(bytearray(pickle.dumps(Code(tmp_path / "mark"))), dtype=torch.uint8)
    with pytest.raises(WorldError, match="a library exchanges pickles over the network"):
        dist.distributed_c10d._tensor_to_object(code, len(code), None)
    assert not (tmp_path / "mark").exists()


def test_the_store_of_ranks_on_one_host_listens_at_its_loopback_only(tmp_path):
    run = make_run(tmp_path / "run")
    port = free_port()
    ranks = start(run, 2, env={"MASTER_PORT": str(port)}, fault=run_faults.slow_steps)
    wait_for(lambda: lines(run))
    listening = [
        text.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for text in Path(table).read_text().splitlines()[1:]
        if text.split()[3] == "0A" and text.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]
    assert finish(ranks) == [0, 0]
