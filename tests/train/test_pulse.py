"""A rank that is not heard of any more is noticed; one that was only stopped together with all others is not."""

import os
import signal
import time
from pathlib import Path

import pytest
import run_faults
import torch.distributed as dist
from run_ranks import finish, job_log, lines, make_run, start, state, wait_for

from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import World
from bertjob.train.distributed import pulse
from bertjob.train.distributed.peers import Place
from bertjob.train.distributed.pulse import SILENT_LOOKS, Pulse, Ring, Silence
from bertjob.train.distributed.secret import new_secret

TWO = [Place("n1", "127.0.0.1", True), Place("n2", "127.0.0.1", True)]


def world(rank: int, size: int = 2) -> World:
    return World(rank=rank, size=size, local_rank=rank, local_size=size, source="test")


def test_a_rank_counts_as_lost_after_so_many_looks_without_a_sign() -> None:
    silence = Silence([1, 2], SILENT_LOOKS)
    for _ in range(SILENT_LOOKS - 1):
        assert silence.look() == []
    silence.heard(2)
    assert silence.look() == [1]


def test_rank_0_hears_those_that_write_another_number() -> None:
    said: list[str] = []
    judge = Pulse(world(0, 3), ["n0", "n1", "n2"], None, said.append)
    for beat in range(SILENT_LOOKS + 1):  # what is read first is news
        judge.read({1: beat, 2: 7})
        silent = judge._store.look()
    assert silent == [2]


def rings() -> tuple[Ring, Ring]:
    store, key = dist.HashStore(), new_secret().key("pulse")
    for rank in (0, 1):
        store.set(f"pulse/{rank}", "9")  # so that the first one does not wait for the second
    first = Ring(store, world(0), TWO, key)
    second = Ring(store, world(1), TWO, key)
    return first, second


def test_the_next_rank_hears_the_one_before_it_and_no_stranger() -> None:
    first, second = rings()
    assert not first.heard()
    second.send(1)
    assert first.heard()
    assert not first.heard()
    second.send(1)
    assert not first.heard(), "what was recorded and sent again is no sign of life"
    second._key = new_secret().key("pulse")
    second.send(2)
    assert not first.heard()


@pytest.mark.parametrize(
    ("ranks", "line"),
    [
        ([1], "rank 1 on n1 has not been heard of for 60 s"),
        ([1, 2], "ranks 1 and 2 on n1 have not been heard of for 60 s"),
        ([0, 3], "ranks 0 and 3 on 2 nodes have not been heard of for 60 s"),
    ],
)
def test_those_that_are_lost_are_named(ranks: list[int], line: str) -> None:
    reason = ": the network between is down, or the node hangs"
    assert pulse.lost(ranks, ["n0", "n1", "n1", "n2"], SILENT_LOOKS) == line + reason


@pytest.mark.fault(
    "rank {stopped} stopped by SIGSTOP",
    survived="started again",
    lost="steps since the checkpoint",
    reported="which rank has not been heard of",
)
@pytest.mark.parametrize("stopped", [0, 1])
def test_the_others_leave_a_rank_that_is_stopped_and_the_run_is_to_start_again(tmp_path: Path, stopped: int) -> None:
    run = make_run(tmp_path / "run", train__max_steps=1000)
    ranks = start(run, 2, fault=run_faults.quick_pulse)
    wait_for(lambda: len(lines(run)) > 4)
    pids = [rank.pid for rank in ranks]
    os.kill(pids[stopped], signal.SIGSTOP)
    ranks[1 - stopped].join(60)
    assert ranks[1 - stopped].exitcode == 85
    seconds = 3 if stopped else 4
    line = f"rank {stopped} on {os.uname().nodename} has not been heard of for {seconds} s: the network between is down"
    own = RunDir(run).log("local", 1)
    assert line in (own.read_text() if stopped == 0 else job_log(run))
    os.kill(pids[stopped], signal.SIGCONT)
    assert finish(ranks)[stopped] != 0
    if stopped == 1:
        assert (state(run)["phase"], state(run)["exit_code"]) == ("checkpointed", 85)
        assert line in state(run)["error"]


@pytest.mark.fault("all ranks stopped for a while", survived="goes on", lost="nothing", reported="nothing")
def test_ranks_that_were_stopped_together_have_missed_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", train__max_steps=60)
    ranks = start(run, 2, fault=run_faults.quick_pulse)
    wait_for(lambda: len(lines(run)) > 4)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for rank in ranks:
            os.kill(rank.pid, number)
        time.sleep(6 if number == signal.SIGSTOP else 0)
    assert finish(ranks) == [0, 0]
