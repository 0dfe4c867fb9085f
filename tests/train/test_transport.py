"""Which network the ranks use: read from NCCL's own words, and a warning where it is TCP on a fast fabric."""

import os
import socket
from pathlib import Path

import pytest
import run_faults
import torch
from holding import hold
from run_ranks import job_log, make_run, run_to_end, state

from bertjob.errors import WorldError
from bertjob.rundir.state import read_state
from bertjob.rundir.world import FAST_FABRIC, World
from bertjob.train.distributed import interfaces
from bertjob.train.distributed.transport import Transport, check_interface, fault, listen, parse
from bertjob.train.reporting.report import Report

CUDA = torch.device("cuda")
OTHER_NODES = {"LOCAL_WORLD_SIZE": "1"}
"""What ranks are told that are each alone on their node."""


def said(*lines: str) -> str:
    """NCCL's lines, as a rank on host n1 writes them."""
    return "".join(f"n1:882:901 [0] NCCL INFO {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("log", "line", "tcp"),
    [
        pytest.param(
            "NCCL version 2.18.5+cuda12.0\n"
            + said("NET/IB : Using [0]mlx5_0:1/IB [1]mlx5_1:1/RoCE [RO]; OOB ib0:10.0.0.1<0>", "Using network IB"),
            "NCCL 2.18.5 over NET/IB (mlx5_0, mlx5_1)",
            False,
            id="InfiniBand",
        ),
        pytest.param(
            said(
                "Plugin Path : /opt/hpcx/nccl_rdma_sharp_plugin/lib/libnccl-net.so",
                "P2P plugin IBext_v8",
                "NET/IB : Using [0]mlx5_0:1/IB/SHARP [RO]; OOB ibp25s0:10.20.0.119<0>",
                "Using network IBext_v8",
            ),
            "NCCL over NET/IBext_v8 (mlx5_0)",
            False,
            id="InfiniBand by NVIDIA's plugin, in the log of a rank that does not tell the version",
        ),
        pytest.param(
            "NCCL version 2.20.5+cuda12.4\n"
            + said(
                "P2P plugin IBext_v8",
                "NET/IB : No device found.",
                "NET/Socket : Using [0]eth0:172.17.0.2<0> [1]veth7:fe80::3c9d:c3ff:fe9a:d1f8%veth7<0>",
                "Using non-device net plugin version 0",
                "Using network Socket",
            ),
            "NCCL 2.20.5 over NET/Socket (eth0, veth7)",
            True,
            id="fallen back",
        ),
        pytest.param(
            "NCCL version 2.27.7+cuda12.9\n"
            + said(
                "NET/IB : Using [0]mlx5_0:1/IB [RO]; OOB ib0:10.0.0.1<0>",
                "NET/Socket : Using [0]ib0:10.0.0.1<0>",
                "Initialized NET plugin Socket",
                "Assigned NET plugin Socket to comm",
                "Using network Socket",
            ),
            "NCCL 2.27.7 over NET/Socket (ib0)",
            True,
            id="sockets over IP over InfiniBand, which is TCP as well",
        ),
        pytest.param(
            "NCCL version 2.22.3+cuda12.6\n" + said("NET/OFI Selected Provider is cxi", "Using network AWS Libfabric"),
            "NCCL 2.22.3 over NET/OFI (cxi)",
            False,
            id="Slingshot",
        ),
        pytest.param(
            said("NET/OFI Selected provider is efa, fabric is efa (found 4 nics)", "Using network Libfabric"),
            "NCCL over NET/OFI (efa)",
            False,
            id="a newer plugin",
        ),
        pytest.param(
            said("NET/OFI Selected Provider is tcp;ofi_rxm (found 1 nics)", "Using network AWS Libfabric"),
            "NCCL over NET/OFI (tcp;ofi_rxm)",
            True,
            id="the plugin without the fabric's provider",
        ),
        pytest.param(
            "RCCL version 2.18.3+hip6.0 HEAD:1234567\n"
            + said("NET/OFI Using aws-ofi-rccl 1.4.0", "Using network Socket"),
            "RCCL 2.18.3 over NET/Socket",
            True,
            id="AMD",
        ),
        pytest.param(
            said("NET/Socket : Using [0]ib0:10.0.0.1<0>", "NET/IB : Using [0]mlx5_0:1/IB ; OOB ib0:10.0.0.1<0>")
            + "NCCL version 2.4.7+cuda10.0\n",
            "NCCL 2.4.7 over NET/IB (mlx5_0)",
            False,
            id="before it told its choice",
        ),
    ],
)
def test_the_words_of_nccl_are_read(log: str, line: str, tcp: bool) -> None:
    transport = parse(log)
    assert (str(transport), transport.tcp) == (line, tcp)


@pytest.mark.parametrize(
    "log",
    ["", "NCCL version 2.20.5+cuda12.4\n", said("Bootstrap : Using eth0:10.0.0.1<0>", "NET/IB : No device found.")],
)
def test_a_log_without_a_network_tells_none(log: str) -> None:
    assert parse(log) is None


def test_tcp_is_a_fault_on_a_fast_fabric_alone() -> None:
    fast, slow = Transport("NCCL 2.27.5", "NET/OFI", ("cxi",)), Transport("NCCL 2.27.5", "NET/Socket", ("eth0",))
    log = Path("/runs/a/logs/17.0.nccl")
    assert fault([slow, slow], "", log) == ""
    assert fault([fast, fast, None], "slingshot", log) == ""
    assert fault([slow, slow], "slingshot", log).startswith(
        "NCCL 2.27.5 over NET/Socket (eth0) is TCP, though slingshot is fast: "
    )
    assert fault([fast, slow, None], "slingshot", log).startswith(
        "NCCL 2.27.5 over NET/Socket (eth0) on 1 of 3 ranks is TCP, though"
    )
    assert fault([slow], "slingshot", log).endswith("; /runs/a/logs/17.0.nccl says more")


def test_nccl_is_asked_to_say_what_it_chooses_in_a_file_of_the_rank() -> None:
    env: dict[str, str] = {}
    assert listen(CUDA, env, Path("/runs/100%/logs/17.3.nccl")) == Path("/runs/100%/logs/17.3.nccl")
    assert env == {
        "NCCL_DEBUG": "INFO",
        "NCCL_DEBUG_SUBSYS": "INIT,NET",
        "NCCL_DEBUG_FILE": "/runs/100%%/logs/17.3.nccl",
    }


def test_what_a_person_asks_nccl_to_say_stays() -> None:
    env = {"NCCL_DEBUG": "WARN"}
    assert listen(CUDA, env, Path("log")) is None
    assert env == {"NCCL_DEBUG": "WARN"}
    env = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_FILE": "/tmp/nccl.%h.%p.100%%"}
    assert listen(CUDA, env, Path("log")) == Path(f"/tmp/nccl.{socket.gethostname()}.{os.getpid()}.100%")


def test_without_gpus_there_is_nothing_to_ask() -> None:
    env: dict[str, str] = {"NCCL_SOCKET_IFNAME": "hsn7"}
    assert listen(torch.device("cpu"), env, Path("log")) is None
    assert env == {"NCCL_SOCKET_IFNAME": "hsn7"}


@pytest.mark.parametrize("wanted", ["", "lo", "l", "=lo", "eth7,lo", "^hsn", "^=l"])
def test_nccls_own_rules_say_which_interfaces_are_meant(wanted: str) -> None:
    check_interface({"NCCL_SOCKET_IFNAME": wanted})


@pytest.mark.parametrize("wanted", ["hsn7", "=l", "hsn0,hsn1", "^ALL"])
def test_an_interface_that_nccl_would_not_find_is_one_line(wanted: str) -> None:
    wanted = wanted.replace("ALL", ",".join(interfaces.interfaces()))
    with pytest.raises(WorldError) as raised:
        listen(CUDA, {"NCCL_SOCKET_IFNAME": wanted}, Path("log"))
    assert str(raised.value).startswith(
        f"NCCL_SOCKET_IFNAME={wanted}: no interface with an address here is meant; there are lo (127.0.0.1)"
    )


def test_a_warning_of_the_network_stands_while_others_come_and_go(tmp_path: Path) -> None:
    report = Report(hold(tmp_path), World(0, 2, 0, 1, "test"), "17")
    report.start()
    report.network("NCCL over NET/Socket", "it is slow")
    report.warn("the disk is full")
    assert read_state(tmp_path / "state.json").warning == "the disk is full; it is slow"
    report.warn("")
    now = read_state(tmp_path / "state.json")
    assert (now.network, now.warning) == ("NCCL over NET/Socket", "it is slow")


def test_a_run_says_over_which_interface_gloo_talks(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", train__max_steps=1)
    assert run_to_end(run, 2, env=OTHER_NODES) == [0, 0]
    assert job_log(run).splitlines()[1] == "gloo over lo (127.0.0.1)"
    assert state(run)["network"] == "gloo over lo (127.0.0.1)"
    assert "warning" not in state(run)


def test_ranks_of_one_node_say_nothing_of_the_network(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", train__max_steps=1)
    assert run_to_end(run, 2) == [0, 0]
    assert "gloo" not in job_log(run)
    assert "network" not in state(run)


def test_a_fall_back_is_the_first_warning_of_the_log_and_stays_in_the_state(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", train__max_steps=5)
    slow = {**OTHER_NODES, FAST_FABRIC: "slingshot"}
    assert run_to_end(run, 2, env=slow, fault=run_faults.nccl_fell_back) == [0, 0]
    warning = "NCCL 2.27.5 over NET/Socket (eth0) is TCP, though slingshot is fast: "
    assert job_log(run).splitlines()[1].startswith(f"warning: {warning}")
    assert state(run)["warning"].startswith(warning)
    assert state(run)["phase"] == "done"
