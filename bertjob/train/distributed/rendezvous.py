"""How the ranks find each other: whatever goes wrong ends in one line, within about a minute.

Rank 0 keeps a store at MASTER_ADDR:MASTER_PORT. The others reach it and write down where they are; then each rank
connects to the next one on the network that gloo will use. Only then torch builds its process groups: it would wait
for half an hour, and not say for whom.
"""

import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed import interfaces, peers, store
from bertjob.train.distributed.departure import Notices
from bertjob.train.distributed.limits import allow_connections
from bertjob.train.distributed.ranks import Ranks

CONNECT_SECONDS = 60.0
"""How long ranks wait for each other; the environment variable BERTJOB_CONNECT_SECONDS says otherwise."""
COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long a rank waits in a collective: longer than rank 0 takes to make features or to write a checkpoint."""
_LOOPBACK = "127.0.0.1"


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
        listener = store.listen(port, alone=world.size == 1)
        port = listener.getsockname()[1]
        table, seen, host_inside = store.keep(listener, seconds), "", "localhost"
    else:
        own, seen = store.reach(host, port, seconds)
        address = address if chosen else own
        table, host_inside = store.connect(host, port, seconds), host
    _tell_libraries(env, world, host, port)
    place = peers.Place(socket.gethostname(), address, bool(chosen), seen)
    notices = None
    if world.size > 1:
        notices = Notices(dist.PrefixStore(run, store.connect(host_inside, port, seconds)), world, place.host)
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
