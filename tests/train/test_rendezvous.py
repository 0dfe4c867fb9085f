"""Ranks find each other, or stop in time with one line that names the host, the address and the reason."""

import os
import signal
import socket
import threading
from pathlib import Path

import pytest
import run_faults
import torch.distributed as dist
from run_ranks import (
    finish,
    free_port,
    job_log,
    make_run,
    make_secret,
    run_to_end,
    start,
    start_rank,
    state,
    wait_for,
)

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed import interfaces, peers, reach, rendezvous
from bertjob.train.distributed.peers import Place
from bertjob.train.distributed.secret import Key, new_secret

HOST = socket.gethostname()


def ranks_of(run: Path, size: int, port: int, master: str = "127.0.0.1", seconds: str = "2") -> list[dict[str, str]]:
    """What a launcher says to each rank."""
    secret = str(make_secret(run))
    return [
        {
            "RANK": str(rank),
            "WORLD_SIZE": str(size),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": master,
            "MASTER_PORT": str(port),
            "BERTJOB_CONNECT_SECONDS": seconds,
            "BERTJOB_SECRET_FILE": secret,
        }
        for rank in range(size)
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_a_master_that_nobody_is_at_is_named_with_the_reason(run):
    port = free_port()
    rank = start_rank(run, ranks_of(run, 2, port)[1])
    assert finish([rank]) == [1]
    assert job_log(run) == f"rank 1 ({HOST}): cannot reach rank 0 at 127.0.0.1:{port}: Connection refused; tried 2 s\n"


def test_a_master_whose_name_does_not_resolve_is_named(run):
    assert finish([start_rank(run, ranks_of(run, 2, 29500, master="no-such-host.invalid")[1])]) == [1]
    assert f"rank 1 ({HOST}): cannot reach rank 0 at no-such-host.invalid:29500: the name does not resolve" in job_log(
        run
    )
    assert len(job_log(run).splitlines()) == 1


def test_ranks_that_never_come_are_named_by_rank_0_and_all_others_end_with_it(run):
    env = ranks_of(run, 4, free_port())
    ranks = [start_rank(run, env[0]), start_rank(run, env[2])]
    assert finish(ranks) == [1, 1]
    said = job_log(run).splitlines()
    assert said[1:] == ["ranks 1 and 3 of 4 did not answer within 2 s"]
    assert state(run)["phase"] == "failed"
    assert state(run)["error"] == said[1]
    assert said[1] in (run / "logs" / "local.2.out").read_text()


def test_rank_0_ended_by_the_launcher_says_why_another_one_failed_before_they_met(run):
    """A launcher sends TERM to the others when one has failed, and rank 0 alone writes the state."""
    first, second = ranks_of(run, 2, free_port(), seconds="60")
    rank_0 = start_rank(run, first)
    wait_for(lambda: (run / "state.json").exists())
    assert finish([start_rank(run, {**second, "GLOO_SOCKET_IFNAME": "hsn9"})]) == [1]
    os.kill(rank_0.pid, signal.SIGTERM)
    assert finish([rank_0], seconds=20) == [1]
    assert state(run)["error"].startswith(f"rank 1 ({HOST}): GLOO_SOCKET_IFNAME=hsn9: no such interface")
    assert job_log(run).count("hsn9") == 1
    assert not list((run / "logs").glob("*.departure"))  # read, and true of no later start


def test_a_master_address_that_is_not_rank_0s_is_the_likely_cause(run):
    assert finish([start_rank(run, ranks_of(run, 2, free_port(), master="192.0.2.1", seconds="1")[0])]) == [1]
    assert state(run)["error"] == (
        f"rank 1 of 2 did not answer within 1 s: they look at MASTER_ADDR=192.0.2.1, which is no address of {HOST}, "
        "where rank 0 is"
    )


def test_a_wrong_interface_is_named_with_those_that_exist(run):
    env = ranks_of(run, 2, free_port())[1] | {"GLOO_SOCKET_IFNAME": "hsn7"}
    assert finish([start_rank(run, env)]) == [1]
    said = job_log(run)
    assert said.startswith(
        f"rank 1 ({HOST}): GLOO_SOCKET_IFNAME=hsn7: no such interface with an address here; there are"
    )
    assert "lo (127.0.0.1)" in said


def test_a_port_that_another_program_has_is_named_on_both_sides(run):
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        assert finish([start_rank(run, env) for env in ranks_of(run, 2, port)]) == [1, 1]
    said = job_log(run)
    assert f"rank 0 cannot listen on port {port}: Address already in use; choose another MASTER_PORT" in said
    assert f"what answers at 127.0.0.1:{port} is not rank 0 of this run" in said


def test_without_a_master_address_the_ranks_say_so(run):
    env = {name: value for name, value in ranks_of(run, 2, 29500)[1].items() if name != "MASTER_ADDR"}
    assert finish([start_rank(run, env)]) == [1]
    assert "MASTER_ADDR is not set: rank 1 of 2 cannot know where rank 0 listens" in job_log(run)


def test_a_silent_singleton_stops(run):
    assert finish([start_rank(run, {"BERTJOB_WORLD_SIZE": "4"})]) == [1]
    assert "the plan has 4 ranks, this process is rank 0 of 1" in job_log(run)
    assert state(run)["exit_code"] == 1


def test_a_rank_alone_needs_no_address(run):
    assert finish([start_rank(run, {})]) == [0]


def test_gpus_that_are_asked_for_and_not_there_are_missed(tmp_path):
    run = make_run(tmp_path / "run", resources__gpus_per_node=4)
    assert run_to_end(run) == [1]
    assert "the job asks for 4 GPUs a node, but torch" in state(run)["error"]
    assert "sees none here" in state(run)["error"]


def test_batches_that_do_not_come_out_even_are_refused_once(run):
    assert run_to_end(run, 3) == [2, 2, 2]
    said = [line for line in job_log(run).splitlines() if "is no multiple of micro batch" in line]
    assert len(said) == 1
    assert "is no multiple of micro batch" in state(run)["error"]


def test_the_first_failure_of_any_rank_ends_all_and_is_told_once(run):
    assert run_to_end(run, 4, fault=run_faults.broken_rank_1) == [1, 1, 1, 1]
    own = run / "logs" / "local.1.out"
    line = f"rank 1 ({HOST}): ValueError: this rank is broken (traceback in {own})"
    assert [said for said in job_log(run).splitlines() if "rror" in said] == [line]
    assert state(run)["error"] == line
    assert "Traceback" in own.read_text()
    assert "Traceback" not in job_log(run)


def test_a_killed_rank_does_not_leave_the_others_hanging(run):
    ranks = start(run, 4, fault=run_faults.slow_steps)
    wait_for(lambda: (run / "metrics.jsonl").exists())
    os.kill(ranks[2].pid, signal.SIGKILL)
    assert finish(ranks, seconds=10) == [1, 1, -signal.SIGKILL, 1]
    assert state(run)["phase"] == "failed"
    assert state(run)["error"] == f"rank 2 ({HOST}) is gone without a word: killed, or the node failed"
    assert state(run)["error"] in job_log(run)


def test_a_killed_rank_0_does_not_leave_the_others_hanging(run):
    ranks = start(run, 4, fault=run_faults.slow_features)
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == "features")
    os.kill(ranks[0].pid, signal.SIGKILL)
    assert finish(ranks, seconds=10) == [-signal.SIGKILL, 1, 1, 1]
    assert f"rank 2 ({HOST}): rank 0 is gone: it was killed, or its node failed" in job_log(run)


def test_a_crash_says_its_last_words_in_the_jobs_log(run):
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: (run / "metrics.jsonl").exists())
    os.kill(ranks[1].pid, signal.SIGABRT)
    finish(ranks)
    assert "Fatal Python error: Aborted" in job_log(run)


def test_a_loss_that_is_not_a_number_ends_the_run_in_one_line(tmp_path):
    run = make_run(tmp_path / "run", checkpoint__every_steps=2, train__log_every=4)
    assert run_to_end(run, 2, fault=run_faults.not_a_number) == [1, 1]
    error = state(run)["error"]
    assert "the loss or its gradient became infinite or not a number in steps 11 to 12" in error
    assert job_log(run).splitlines()[-1] == error


def place(host: str, address: str, master: str = "", chosen: bool = False) -> Place:
    return Place(host, address, chosen, master)


def test_ranks_on_the_host_of_rank_0_are_reached_where_others_reached_rank_0():
    places = [place("a", "127.0.0.1"), place("a", "127.0.0.1", "127.0.0.1"), place("b", "10.0.0.2", "10.0.0.1")]
    assert [peers.address(rank, places) for rank in range(3)] == ["10.0.0.1", "10.0.0.1", "10.0.0.2"]


def test_an_interface_that_a_person_chose_is_left():
    places = [place("a", "10.7.0.1", chosen=True), place("a", "127.0.0.1", "127.0.0.1", chosen=True)]
    assert [peers.address(rank, places) for rank in range(2)] == ["10.7.0.1", "127.0.0.1"]


def ring(tables: list[list[Place]], keys: list[Key] | None = None) -> list[str]:
    """Run the check of the ring with one thread a rank, each with its own idea of the places; what went wrong."""
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    keys = keys or [new_secret().key("ring")] * len(tables)
    errors = [""] * len(tables)

    def check(rank: int) -> None:
        store = dist.TCPStore("127.0.0.1", server.port, is_master=False, wait_for_workers=False)
        try:
            peers.check_ring(store, World(rank, len(tables), rank, 1, "test"), tables[rank], keys[rank], 1.0)
        except WorldError as error:
            errors[rank] = str(error)

    threads = [threading.Thread(target=check, args=(rank,)) for rank in range(len(tables))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_ring_that_closes_is_no_trouble():
    places = [place("a", "127.0.0.1"), place("b", "127.0.0.1"), place("c", "127.0.0.1")]
    assert ring([places] * 3) == ["", "", ""]


def test_who_could_not_reach_whom_is_named():
    good = [place("nid3", "127.0.0.1"), place("nid4", "127.0.0.1"), place("nid5", "127.0.0.1")]
    wrong = [good[0], good[1], place("nid5", "127.0.0.9")]  # where nobody listens on that port
    said = ring([good, wrong, good])
    assert said[0].startswith("rank 1 on nid4 could not reach rank 2 at 127.0.0.9:")
    assert said[0].endswith(" (nid5): Connection refused")


def test_what_answers_in_the_place_of_a_rank_must_know_the_secret():
    places = [place("nid3", "127.0.0.1"), place("nid4", "127.0.0.1")]
    said = ring([places] * 2, keys=[new_secret().key("ring"), new_secret().key("ring")])
    assert "rank 0 on nid3 could not reach rank 1 at 127.0.0.1:" in said[0]
    assert said[0].count("(nid4): another program answers there") == 1


@pytest.mark.parametrize(
    ("leads_to", "own", "listens"),
    [
        ({"10.0.0.1"}, {"10.0.0.1", "10.9.0.1", "192.168.0.1"}, "10.0.0.1"),
        ({"127.0.1.1"}, {"10.0.0.1"}, "10.0.0.1"),  # Debian's /etc/hosts
        ({"127.0.1.1"}, {"10.0.0.1", "172.17.0.1"}, ""),
        ({"10.0.0.1", "fd00::1"}, {"10.0.0.1", "fd00::1"}, ""),  # the others may know but one of them
        (set(), {"10.0.0.1"}, ""),  # nobody will come, which is told when the time is over
    ],
)
def test_the_store_listens_at_the_one_address_that_the_others_look_for(monkeypatch, leads_to, own, listens):
    monkeypatch.setattr(interfaces, "addresses_here", lambda host: leads_to)
    monkeypatch.setattr(interfaces, "network_addresses", lambda: own)
    assert rendezvous.listening_address(World(0, 4, 0, 2, "test"), "nid1") == listens
    assert rendezvous.listening_address(World(0, 2, 0, 2, "test"), "nid1") == "127.0.0.1"


def test_ranks_whose_launcher_makes_no_secret_share_that_of_rank_0(run):
    env = [{**one, "BERTJOB_SECRET_FILE": ""} for one in ranks_of(run, 2, free_port(), seconds="60")]
    assert finish([start_rank(run, one) for one in env]) == [0, 0], job_log(run)
    assert not list((run / "logs").glob(".secret-*"))


def test_absent_ranks_read_well():
    assert peers.named([1]) == "rank 1"
    assert peers.named([1, 3]) == "ranks 1 and 3"
    assert peers.named(range(1, 12)) == "ranks 1, 2, 3, 4, 5, 6, 7, 8 and 3 more"


def test_the_address_of_an_interface_and_back():
    assert interfaces.interface_addresses("lo")[0] == "127.0.0.1"
    assert interfaces.interface_of("127.0.0.1") == "lo"
    assert interfaces.interface_of("192.0.2.1") is None


def test_the_deadline_is_a_minute_unless_the_environment_says_otherwise():
    assert reach.connect_seconds({}) == 60
    assert reach.connect_seconds({"BERTJOB_CONNECT_SECONDS": "1.5"}) == 1.5
    with pytest.raises(WorldError, match="BERTJOB_CONNECT_SECONDS=soon: expected a number of seconds"):
        reach.connect_seconds({"BERTJOB_CONNECT_SECONDS": "soon"})


def test_slurms_address_is_tried_where_the_name_of_the_first_node_does_not_resolve(capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach.reach(["no-such-host.invalid"], port, 5, "127.0.0.1")[0] == "127.0.0.1"
        env = {"BERTJOB_NODE_ADDRESS": "127.0.0.1"}
        for node, host in (
            (0, "no-such-host.invalid"),
            (1, "no-such-host.invalid"),
            (0, "localhost"),
            (1, "localhost"),
        ):
            assert reach.main(node, 2, host, port, env) == 0
            assert capsys.readouterr().out == ("localhost\n" if host == "localhost" else "127.0.0.1\n")
    with pytest.raises(
        WorldError, match=r"0 at no-such-host.invalid:\d+: the name .*; nor at 127.0.0.1:\d+: Connection ref"
    ):
        reach.reach(["no-such-host.invalid"], port, 0.3, "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "why"), [("no-such-host.invalid", "the name does not resolve"), ("127.0.0.1", "Conn")]
)
def test_an_agent_that_cannot_reach_the_first_one_says_what_its_first_rank_would(capsys, host, why):
    env = {"BERTJOB_CONNECT_SECONDS": "0.3"}
    assert reach.main(2, 4, host, free_port(), env) == WorldError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rank 8 ({HOST}): cannot reach rank 0 at {host}:")
    assert why in line


def test_a_way_by_a_mapped_address_has_the_addresses_of_interfaces():
    """A name may lead to ::ffff:10.0.0.1 as well, where a rank looks that came before rank 0 listened at 10.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = reach.reach(["::ffff:127.0.0.1"], server.getsockname()[1], 5)
    assert found == ("::ffff:127.0.0.1", "127.0.0.1", "127.0.0.1")


@pytest.mark.parametrize(("env", "refused"), [({"BERTJOB_WORLD_SIZE": "2"}, False), ({}, True)])
def test_ranks_that_are_not_all_there_say_nothing_against_the_job(
    tmp_path: Path, env: dict[str, str], refused: bool
) -> None:
    """What is refused is removed again by `bertjob run`; this start's logs are wanted."""
    run = make_run(tmp_path / "run", **({} if env else {"data__train": "/nowhere"}))
    assert finish([start_rank(run, env)]) == [1]
    assert state(run).get("refused", False) is refused
