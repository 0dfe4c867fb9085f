"""How the ranks find each other: whatever goes wrong ends in one line, within about a minute.

Rank 0 keeps a store at MASTER_ADDR:MASTER_PORT. The others reach it and write down where they are; then each rank
connects to the next one on the network that gloo will use. Only then torch builds its process groups: it would wait
for half an hour, and not say for whom.
"""

import socket
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed import interfaces, peers
from bertjob.train.distributed.departure import Notices
from bertjob.train.distributed.interfaces import allow_connections, reason
from bertjob.train.distributed.ranks import Ranks

T = TypeVar("T")
_RETRY_SECONDS = 0.2
CONNECT_SECONDS = 60.0
"""How long ranks wait for each other; the environment variable BERTJOB_CONNECT_SECONDS says otherwise."""
COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long a rank waits in a collective: longer than rank 0 takes to make features or to write a checkpoint."""
_LOOPBACK = "127.0.0.1"


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


@dataclass(frozen=True)
class Meeting:
    """Where the ranks meet.

    Attributes:
        world: this rank's place among them.
        store: rank 0's store, with this run's own prefix.
        notices: the board of departures in it; None for a rank alone.
        place: where this rank is.
        seconds: how long ranks wait for each other.
    """

    world: World
    store: dist.Store
    notices: Notices | None
    place: peers.Place
    seconds: float


def meet(world: World, env: MutableMapping[str, str], run: str) -> Meeting:
    """Open the store on rank 0, reach it from the others.

    Args:
        world: this rank's place.
        env: the environment; what libraries read from it (RANK, MASTER_ADDR …) is written back.
        run: tells this run from another one that came to have the same port.

    Raises:
        WorldError: the store cannot be opened or reached, an interface that is named does not exist, or a process may
            not have so many connections.
    """
    seconds = connect_seconds(env)
    allow_connections(world.size)
    chosen = env.get("GLOO_SOCKET_IFNAME", "")
    address = interfaces.interface_address(chosen) if chosen else _LOOPBACK
    host, port = (_LOOPBACK, 0) if world.size == 1 else _master(world, env)
    if world.rank == 0:
        listener = listen(port, alone=world.size == 1)
        port = listener.getsockname()[1]
        table, seen, host_inside = keep(listener, seconds), "", "localhost"
    else:
        own, seen = reach(host, port, seconds)
        address = address if chosen else own
        table, host_inside = connect(host, port, seconds), host
    _tell_libraries(env, world, host, port)
    place = peers.Place(socket.gethostname(), address, bool(chosen), seen)
    notices = None
    if world.size > 1:
        notices = Notices(dist.PrefixStore(run, connect(host_inside, port, seconds)), world, place.host)
    return Meeting(world, dist.PrefixStore(run, table), notices, place, seconds)


def join(meeting: Meeting, env: MutableMapping[str, str], device: torch.device) -> Ranks:
    """Wait until all ranks have come and can talk to each other, and make torch's process groups.

    Raises:
        WorldError: some rank did not come, or cannot reach its neighbour; names it, its host and the address.
    """
    world = meeting.world
    if world.size > 1:
        places = peers.gather(meeting.store, world, meeting.place, meeting.seconds, lambda: _wrong_master(env))
        peers.check_ring(meeting.store, world, places, meeting.seconds)
        interface = interfaces.interface_of(peers.address(world.rank, places))
        if interface is not None:
            env["GLOO_SOCKET_IFNAME"] = interface  # what was checked is what gloo uses
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", meeting.store),
        rank=world.rank,
        world_size=world.size,
        timeout=COLLECTIVE_TIMEOUT,
    )
    group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT) if device.type == "cuda" else dist.group.WORLD
    assert group is not None
    return Ranks(world, group)


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


def _master(world: World, env: Mapping[str, str]) -> tuple[str, int]:
    host, port = env.get("MASTER_ADDR", ""), env.get("MASTER_PORT", "")
    if not host or not port:
        missing = "MASTER_PORT" if host else "MASTER_ADDR"
        raise WorldError(f"{missing} is not set: rank {world.rank} of {world.size} cannot know where rank 0 listens")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise WorldError(f"MASTER_PORT={port}: expected a port number from 1 to 65535")
    return host, int(port)


def _wrong_master(env: Mapping[str, str]) -> str:
    """For rank 0: that the others look for it elsewhere, if that is so."""
    host = env["MASTER_ADDR"]
    if interfaces.is_here(host):
        return ""
    return f": they look at MASTER_ADDR={host}, which is no address of {socket.gethostname()}, where rank 0 is"


def _tell_libraries(env: MutableMapping[str, str], world: World, host: str, port: int) -> None:
    """Say the world in torchrun's variables: DeepSpeed, where one is missing, would call MPI_Init to find it out."""
    env.update(
        RANK=str(world.rank),
        WORLD_SIZE=str(world.size),
        LOCAL_RANK=str(world.local_rank),
        LOCAL_WORLD_SIZE=str(world.local_size),
        MASTER_ADDR=host,
        MASTER_PORT=str(port),
    )
