"""Have all ranks come, and can they talk to each other on the network that gloo will use?"""

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import msgspec
import torch.distributed as dist

from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed.interfaces import is_loopback, reason
from bertjob.train.distributed.secret import SIGNATURE_BYTES, Key

_NAMED_AT_MOST = 8
_CHALLENGE_BYTES = 32


class Place(msgspec.Struct, frozen=True):
    """Where one rank is, as it knows itself."""

    host: str
    address: str
    """Its address on the way to rank 0; rank 0 itself knows only the loopback."""
    chosen: bool
    """Whether a person chose the address, by GLOO_SOCKET_IFNAME."""
    master: str = ""
    """The address at which it reached rank 0."""


def gather(store: dist.Store, world: World, own: Place, seconds: float, hint: Callable[[], str]) -> list[Place]:
    """Every rank's place, once all have come.

    Args:
        store: rank 0's.
        world: this rank's place among them.
        own: where this rank is.
        seconds: how long other ranks try to reach rank 0, which waits somewhat longer.
        hint: says what the cause may be, for the message about ranks that did not come.

    Raises:
        WorldError: on rank 0, some did not come in time; names them. On others, rank 0 went away.
    """
    store.set(f"place/{world.rank}", msgspec.json.encode(own).decode())
    if world.rank == 0:
        keys = [f"place/{rank}" for rank in range(world.size)]
        patience = seconds + seconds // 10  # a rank that cannot come knows why, and has as long to say so
        absent = _absent(store, keys, patience)
        if absent:
            raise WorldError(f"{named(absent)} of {world.size} did not answer within {patience:g} s{hint()}")
        store.set("places", f"[{','.join(place.decode() for place in store.multi_get(keys))}]")
    return msgspec.json.decode(_verdict(store, "places", seconds), type=list[Place])


def address(rank: int, places: Sequence[Place]) -> str:
    """The address at which other ranks can reach `rank`.

    A rank that came to rank 0 over the loopback is on rank 0's host, and so reachable where others reached rank 0.
    Asking for the host name's address instead, as gloo does, yields 127.0.1.1 on Debian.
    """
    place = places[rank]
    if place.chosen or not is_loopback(place.address):
        return place.address
    return next((other.master for other in places if other.master and not is_loopback(other.master)), place.address)


def check_ring(store: dist.Store, world: World, places: Sequence[Place], key: Key, seconds: float) -> None:
    """Let each rank connect to the next one, which must sign a challenge: another program may answer in its stead.

    Args:
        store: rank 0's.
        world: this rank's place among them.
        places: of all ranks.
        key: what challenges are signed with.
        seconds: how long ranks wait for each other.

    Raises:
        WorldError: on rank 0, some could not; says who could not reach whom, where and why. On others, rank 0 went
            away.
    """
    own = address(world.rank, places)
    with _answering(own, world.rank, key, seconds) as port:
        store.set(f"port/{world.rank}", str(port))
        store.set(f"ring/{world.rank}", _trouble(store, world, places, key, seconds))
        if world.rank == 0:
            keys = [f"ring/{rank}" for rank in range(world.size)]
            absent = _absent(store, keys, 2 * seconds)
            if absent:
                raise WorldError(f"{named(absent)} of {world.size} did not finish the check of the network")
            troubles = [trouble.decode() for trouble in store.multi_get(keys) if trouble]
            if troubles:
                raise WorldError("; ".join(troubles[:_NAMED_AT_MOST]))
            store.set("ring", "closed")
        _verdict(store, "ring", 2 * seconds)


def _trouble(store: dist.Store, world: World, places: Sequence[Place], key: Key, seconds: float) -> str:
    """Why this rank cannot reach the next one; empty when it can."""
    rank = (world.rank + 1) % world.size
    where = address(rank, places)
    try:
        port = int(store.get(f"port/{rank}"))
    except RuntimeError:
        return f"rank {rank} on {places[rank].host} did not say where it listens"
    said = f"rank {world.rank} on {places[world.rank].host} could not reach rank {rank} at {where}:{port}"
    try:
        with socket.create_connection((where, port), timeout=seconds / 3) as way:
            challenge = secrets.token_bytes(_CHALLENGE_BYTES)
            way.sendall(challenge)
            signature = way.makefile("rb").read(SIGNATURE_BYTES)
    except OSError as error:
        return f"{said} ({places[rank].host}): {reason(error)}"
    known = key.signed(signature, str(rank).encode(), challenge)
    return "" if known else f"{said} ({places[rank].host}): another program answers there"


@contextlib.contextmanager
def _answering(own: str, rank: int, key: Key, seconds: float) -> Iterator[int]:
    """Sign the challenge of whoever connects; the port."""
    try:
        server = socket.create_server((own, 0), family=socket.AF_INET6 if ":" in own else socket.AF_INET)
    except OSError as error:
        raise WorldError(f"cannot listen on {own}: {reason(error)}") from None

    def answer(caller: socket.socket) -> None:
        with caller, contextlib.suppress(OSError):
            caller.settimeout(seconds)
            challenge = caller.makefile("rb").read(_CHALLENGE_BYTES)
            caller.sendall(key.sign(str(rank).encode(), challenge))

    def listen() -> None:
        with contextlib.suppress(OSError):  # the check is over
            while True:  # a thread for each, because a stranger may connect and say nothing
                threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # close alone would not wake the thread
        server.close()


def _absent(store: dist.Store, keys: Sequence[str], seconds: float) -> list[int]:
    """Positions of the keys that nobody set in time."""
    with contextlib.suppress(dist.DistStoreError):
        store.wait(list(keys), timedelta(seconds=seconds))
        return []
    return [position for position, key in enumerate(keys) if not store.check([key])]


def _verdict(store: dist.Store, key: str, seconds: float) -> bytes:
    """What rank 0 says once it has heard all; it has as much time for that as they had."""
    try:
        store.wait([key], timedelta(seconds=2 * seconds))
        return store.get(key)
    except RuntimeError:
        raise WorldError("rank 0 went away while the ranks gathered") from None


def named(numbers: Sequence[int]) -> str:
    """E.g. ``rank 3`` or ``ranks 1, 2 and 3``; many are counted."""
    named = [str(number) for number in numbers[:_NAMED_AT_MOST]]
    if len(numbers) > len(named):
        return f"ranks {', '.join(named)} and {len(numbers) - len(named)} more"
    return f"rank {named[0]}" if len(named) == 1 else f"ranks {', '.join(named[:-1])} and {named[-1]}"
