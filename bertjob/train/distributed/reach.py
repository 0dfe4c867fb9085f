"""Reach rank 0's host, or say why not: for ranks, and for torchrun's agents, which meet before there are ranks.

python -m bertjob.train.distributed.reach NODE RANKS HOST PORT    prints the host by which node 0's agent is reached
"""

import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from bertjob.errors import WorldError
from bertjob.rundir.world import NODE_ADDRESS
from bertjob.train.distributed import interfaces
from bertjob.train.distributed.interfaces import reason

CONNECT_SECONDS = 60.0
"""How long ranks wait for each other; the environment variable BERTJOB_CONNECT_SECONDS says otherwise."""
_RETRY_SECONDS = 0.2


def connect_seconds(env: Mapping[str, str]) -> float:
    """How long ranks wait for each other.

    Raises:
        WorldError: BERTJOB_CONNECT_SECONDS is no number of seconds.
    """
    text = env.get("BERTJOB_CONNECT_SECONDS", "")
    try:
        return float(text) if text else CONNECT_SECONDS
    except ValueError:
        raise WorldError(f"BERTJOB_CONNECT_SECONDS={text}: expected a number of seconds") from None


def reach(hosts: Sequence[str], port: int, seconds: float, instead: str = "") -> tuple[str, str, str]:
    """Retry connecting to rank 0 until it accepts.

    Args:
        hosts: names or addresses, tried in turn.
        port: where it listens.
        seconds: how long.
        instead: the address to try where the name of a host does not resolve; empty for none.

    Returns:
        The host by which it was reached, and the addresses of both ends of the way there, own one first.

    Raises:
        WorldError: it did not accept; names the last host and what the operating system says.
    """
    deadline = time.monotonic() + seconds
    while True:
        for host in hosts:
            try:
                return _reached(host, port, deadline)
            except OSError as error:
                cause = f"{host}:{port}: {reason(error)}"
                if not isinstance(error, socket.gaierror) or instead in ("", host):
                    continue
            try:
                return _reached(instead, port, deadline)
            except OSError as error:
                cause += f"; nor at {instead}:{port}: {reason(error)}"
        if time.monotonic() + _RETRY_SECONDS >= deadline:
            raise WorldError(f"cannot reach rank 0 at {cause}; tried {seconds:g} s")
        time.sleep(_RETRY_SECONDS)


def _reached(host: str, port: int, deadline: float) -> tuple[str, str, str]:
    with socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic())) as way:
        return host, interfaces.plain(way.getsockname()[0]), interfaces.plain(way.getpeername()[0])


def main(node: int, ranks: int, host: str, port: int, env: Mapping[str, str]) -> int:
    """What the agent of a node does first; the exit code.

    Args:
        node: its number; the agent of node 0 is the one that the others look for.
        ranks: per node.
        host: the first node.
        port: where the agent of node 0 will listen.
        env: the environment.
    """
    instead = env.get(NODE_ADDRESS, "")
    try:
        if node == 0:
            found = host if interfaces.is_here(host) else instead or host
        else:
            found, _, _ = reach([host], port, connect_seconds(env), instead)
    except WorldError as error:
        print(f"rank {node * ranks} ({socket.gethostname()}): {error}", file=sys.stderr)
        return error.exit_code
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), os.environ))
