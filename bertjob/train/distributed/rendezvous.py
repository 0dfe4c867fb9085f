"""How the ranks find each other: whatever goes wrong ends in one line, within about a minute.

Rank 0 keeps a store at MASTER_ADDR:MASTER_PORT. The others reach it and write down where they are; then each rank
connects to the next one on the network that gloo will use. Only then torch builds its process groups: it would wait
for half an hour, and not say for whom. Whoever takes part proves that it knows the secret of this start.
"""

import functools
import logging
import socket
import threading
from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.rundir.world import NODE_ADDRESS, SECRET_FILE, World
from bertjob.train.distributed import interfaces, peers
from bertjob.train.distributed.departure import Notices
from bertjob.train.distributed.interfaces import allow_connections, reason
from bertjob.train.distributed.ranks import Ranks, refuse_pickles, use_gloo_at
from bertjob.train.distributed.reach import connect_seconds, reach
from bertjob.train.distributed.secret import Secret, make_secret, new_secret, read_secret
from bertjob.train.distributed.signed_store import SignedStore
from bertjob.train.reporting.log_files import OWN_FILE_ONLY

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long a rank waits in a collective: longer than rank 0 takes to make features or to write a checkpoint."""
_LOOPBACK = "127.0.0.1"
_UNUSED_PORT = "29500"
"""What libraries that want a port are told by a rank alone, which listens at none."""


def listen(address: str, port: int) -> socket.socket:
    """The socket on which rank 0 will keep the store.

    Args:
        address: one of this host; empty: all of them.
        port: where.

    Raises:
        WorldError: the port cannot be had; says why.
    """
    try:
        if address:
            return socket.create_server((address, port), family=_family(address))
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise WorldError(f"rank 0 cannot listen on port {port}: {reason(error)}; choose another MASTER_PORT") from None


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def keep(listener: socket.socket, host: str, seconds: float) -> dist.TCPStore:
    """Open the store on rank 0's socket, which `host` leads to."""
    port = listener.getsockname()[1]
    return dist.TCPStore(
        host,
        port,
        is_master=True,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


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
        store: rank 0's store, signed, with this run's own prefix; of a rank alone a table in its memory.
        notices: the board of departures in it; None for a rank alone.
        place: where this rank is.
        secret: by which the ranks recognise each other.
        seconds: how long ranks wait for each other.
    """

    world: World
    store: dist.Store
    notices: Notices | None
    place: peers.Place
    secret: Secret
    seconds: float


def meet(world: World, env: MutableMapping[str, str], run: str, unnamed_secret: Path) -> Meeting:
    """Open the store on rank 0, reach it from the others.

    Args:
        world: this rank's place.
        env: the environment; what libraries read from it (RANK, MASTER_ADDR …) is written back.
        run: tells this run from another one that came to have the same port.
        unnamed_secret: the file of the secret where the environment names none.

    Raises:
        WorldError: the store cannot be opened or reached, an interface that is named does not exist, or a process may
            not have so many connections.
    """
    refuse_pickles()
    seconds = connect_seconds(env)
    allow_connections(world.size)
    chosen = env.get("GLOO_SOCKET_IFNAME", "")
    addresses = interfaces.interface_addresses(chosen) if chosen else [_LOOPBACK]
    address = addresses[0]
    if world.size == 1:
        _tell_libraries(env, world, _LOOPBACK, env.get("MASTER_PORT", _UNUSED_PORT))
        place = peers.Place(socket.gethostname(), address, bool(chosen))
        return Meeting(world, dist.HashStore(), None, place, new_secret(), seconds)
    master, port = _master(world, env)
    named = env.get(SECRET_FILE, "")
    if world.rank == 0:
        secret = read_secret(Path(named), seconds) if named else make_secret(unnamed_secret)
        at = listening_address(world, master)
        seen, host = "", at or "localhost"
        table = keep(listen(at, port), host, seconds)
        address = _among(addresses, interfaces.addresses_here(master))
    else:
        hosts = (_LOOPBACK, master) if _all_here(world) else (master,)
        host, own, seen = reach(hosts, port, seconds, env.get(NODE_ADDRESS, ""))
        master = master if host == _LOOPBACK else host
        address = _among(addresses, {own}) if chosen else own
        table = connect(host, port, seconds)
        secret = read_secret(Path(named) if named else unnamed_secret, seconds)
    _tell_libraries(env, world, master, str(port))
    sign = _signer(world, secret, run)
    place = peers.Place(socket.gethostname(), address, bool(chosen), seen)
    notices = Notices(sign(connect(host, port, seconds)), world, place.host)
    return Meeting(world, sign(table), notices, place, secret, seconds)


def _among(addresses: Sequence[str], used: Collection[str]) -> str:
    """Of the addresses of an interface the one that is in use, as others may lead nowhere; else the first."""
    return next((address for address in addresses if address in used), addresses[0])


def _signer(world: World, secret: Secret, run: str) -> Callable[[dist.TCPStore], SignedStore]:
    """A function that makes a connection to rank 0's store a signed one, with this run's own prefix.

    All of them together warn once of a stranger, and only rank 0 in the job's log.
    """

    @functools.cache
    def warn() -> None:
        _LOG.warning(
            "a stranger writes to the store in which the ranks meet; what it writes is ignored",
            extra=OWN_FILE_ONLY if world.rank else None,
        )

    return lambda table: SignedStore(dist.PrefixStore(run, table), secret.key(f"store {run}"), lambda key: warn())


def join(meeting: Meeting, env: MutableMapping[str, str], device: torch.device) -> tuple[Ranks, list[peers.Place]]:
    """Wait until all ranks have come and can talk to each other, and make torch's process groups.

    Returns:
        The ranks as one, and the places where they are.

    Raises:
        WorldError: some rank did not come, or cannot reach its neighbour; names it, its host and the address.
    """
    world = meeting.world
    places = [meeting.place]
    if world.size > 1:
        places = peers.gather(meeting.store, world, meeting.place, meeting.seconds, lambda: _wrong_master(world, env))
        if world.rank == 0:
            meeting.secret.remove()  # all have read it
        peers.check_ring(meeting.store, world, places, meeting.secret.key("ring"), meeting.seconds)
        own = peers.address(world.rank, places)
        interface = interfaces.interface_of(own)
        if interface is not None:
            env["GLOO_SOCKET_IFNAME"] = interface  # what was checked is what gloo uses
            if own != interfaces.interface_addresses(interface)[0]:
                use_gloo_at(own)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=dist.PrefixStore("group", meeting.store),
        rank=world.rank,
        world_size=world.size,
        timeout=COLLECTIVE_TIMEOUT,
    )
    group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT) if device.type == "cuda" else dist.group.WORLD
    assert group is not None
    return Ranks(world, group), places


def _master(world: World, env: Mapping[str, str]) -> tuple[str, int]:
    host, port = env.get("MASTER_ADDR", ""), env.get("MASTER_PORT", "")
    if not host or not port:
        missing = "MASTER_PORT" if host else "MASTER_ADDR"
        raise WorldError(f"{missing} is not set: rank {world.rank} of {world.size} cannot know where rank 0 listens")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise WorldError(f"MASTER_PORT={port}: expected a port number from 1 to 65535")
    return host, int(port)


def _all_here(world: World) -> bool:
    return world.size == world.local_size


def listening_address(world: World, master: str) -> str:
    """The one address of this host at which rank 0 need be reached; empty: any, where that cannot be told.

    The other ranks look for it at `master`. That may be a name which only here means 127.0.1.1 (Debian's /etc/hosts);
    then it is the host's one address on a network, if there is just one. Where a name leads to several addresses here,
    the others may know but one of them. What GLOO_SOCKET_IFNAME names need not be where `master` leads.
    """
    if _all_here(world):
        return _LOOPBACK
    there = interfaces.addresses_here(master)
    if any(map(interfaces.is_loopback, there)):
        there = interfaces.network_addresses()
    return next(iter(there)) if len(there) == 1 else ""


def _wrong_master(world: World, env: Mapping[str, str]) -> str:
    """For rank 0: that the others look for it elsewhere, if that is so."""
    host = env["MASTER_ADDR"]
    if not interfaces.is_here(host):
        return f": they look at MASTER_ADDR={host}, which is no address of {socket.gethostname()}, where rank 0 is"
    at = listening_address(world, host)
    if at in ("", host, _LOOPBACK):
        return ""
    return f": they look at MASTER_ADDR={host}, which must be {at} for them too, where rank 0 listens"


def _tell_libraries(env: MutableMapping[str, str], world: World, host: str, port: str) -> None:
    """Say the world in torchrun's variables: DeepSpeed, where one is missing, would call MPI_Init to find it out."""
    env.update(
        RANK=str(world.rank),
        WORLD_SIZE=str(world.size),
        LOCAL_RANK=str(world.local_rank),
        LOCAL_WORLD_SIZE=str(world.local_size),
        MASTER_ADDR=host,
        MASTER_PORT=port,
    )
