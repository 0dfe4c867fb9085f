"""The store that rank 0 keeps and all others reach: a table of keys over TCP, at MASTER_ADDR:MASTER_PORT."""

import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.train.distributed.interfaces import reason

T = TypeVar("T")
_RETRY_SECONDS = 0.2


def listen(port: int, *, alone: bool) -> socket.socket:
    """The socket on which rank 0 will keep the store.

    Args:
        port: where; 0 takes a free one.
        alone: there are no other ranks, so no other host need reach it.

    Raises:
        WorldError: the port cannot be had; says why.
    """
    try:
        if alone:
            return socket.create_server(("127.0.0.1", port))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise WorldError(f"rank 0 cannot listen on port {port}: {reason(error)}; choose another MASTER_PORT") from None


def keep(listener: socket.socket, seconds: float) -> dist.TCPStore:
    """Open the store on rank 0's socket."""
    port = listener.getsockname()[1]
    return dist.TCPStore(
        "localhost",
        port,
        is_master=True,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def reach(host: str, port: int, seconds: float) -> tuple[str, str]:
    """Knock at rank 0's door until it opens; the addresses of both ends of the way there, own one first.

    Raises:
        WorldError: it stayed shut; names the address and what the operating system says.
    """
    deadline = time.monotonic() + seconds
    while True:
        left = max(0.1, deadline - time.monotonic())
        try:
            with socket.create_connection((host, port), timeout=left) as way:
                return way.getsockname()[0], way.getpeername()[0]
        except OSError as error:
            if time.monotonic() + _RETRY_SECONDS >= deadline:
                raise WorldError(
                    f"cannot reach rank 0 at {host}:{port}: {reason(error)}; tried {seconds:g} s"
                ) from None
        time.sleep(_RETRY_SECONDS)


def connect(host: str, port: int, seconds: float) -> dist.TCPStore:
    """A connection to the store of rank 0.

    Raises:
        WorldError: something else answers there.
    """

    def attempt() -> dist.TCPStore:
        return dist.TCPStore(host, port, is_master=False, timeout=timedelta(seconds=seconds), wait_for_workers=False)

    try:
        return _within(seconds, attempt)
    except (TimeoutError, RuntimeError):
        raise WorldError(
            f"what answers at {host}:{port} is not rank 0 of this run; choose another MASTER_PORT"
        ) from None


def _within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns, or TimeoutError: torch waits for ever for the greeting of a server that is no store."""
    results: list[T | Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeoutError
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]
