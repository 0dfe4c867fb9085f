"""The port at which ranks meet, chosen by bash."""

import socket
import subprocess
from pathlib import Path

from bertjob.launch import script

EPHEMERAL = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
LINES = script.port_choice("SLURM_JOB_ID + 997 * ${SLURM_RESTART_COUNT:-0}")


def chosen(starts: list[tuple[int, int]]) -> list[int]:
    """The ports of (job id, restarts), in one bash."""
    each = "".join(f"SLURM_JOB_ID={job_id} SLURM_RESTART_COUNT={count}\nchoose\n" for job_id, count in starts)
    script = f"set -euo pipefail\nMASTER_ADDR=127.0.0.9\nchoose() {{\n{LINES}\necho $MASTER_PORT\n}}\n{each}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def test_ports_lie_below_those_of_outgoing_connections() -> None:
    found = chosen([(1, 0), (9_999_999, 0), (2**31 - 1, 40)])
    assert all(20000 <= port < max(EPHEMERAL, 20001) for port in found)


def test_jobs_that_may_share_a_node_have_different_ports() -> None:
    found = chosen([(4711 + neighbour, 0) for neighbour in range(20)])
    assert len(set(found)) == 20


def test_each_start_of_a_job_has_another_port() -> None:
    found = chosen([(4711, restarts) for restarts in range(10)])
    assert len(set(found)) == 10


def test_a_port_in_use_is_passed_over() -> None:
    (port,) = chosen([(8123, 0)])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        assert chosen([(8123, 0)]) == [port + 1]


def test_a_port_in_use_at_the_address_of_the_ranks_alone_is_passed_over() -> None:
    (port,) = chosen([(8129, 0)])
    with socket.create_server(("127.0.0.9", port)):
        assert chosen([(8129, 0)]) == [port + 1]
