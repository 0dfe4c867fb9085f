"""Signs of life between the ranks: one that is cut off or stopped is noticed within 90 s.

A connection whose packets get lost, as when a cable is pulled, is given up by TCP after some 15 minutes (tcp_retries2
in tcp(7) of Linux), and a collective waits as long. So ranks show that they live on both roads that they use: through
the store that rank 0 keeps, and by a datagram to the next rank on the network of gloo. A rank counts its own looks and
reads no clock: a job that was suspended as a whole, or a machine that slept, has missed nothing.

The threads behind both need the interpreter's lock. Code in Python hands it over every 5 ms (sys.getswitchinterval),
and whoever waits for a process, a file, the network or the GPU has let go of it, so compilers that run as processes,
like those of DeepSpeed's operators, silence nobody. But a single call into C that keeps the lock for more than a minute
makes a working rank look lost. Measured with Python 3.11: other threads stood still for 9.7 s during json.loads of
117 MB and for 13.6 s while 6 million numbers were sorted, but for 0.15 s at most in a loop in Python of 12 s. Code that
has such work to do should do it in a process of its own, in pieces, or before the ranks meet, when nobody judges yet.

A child process that sends the signs instead would need no lock, but would show only that the rank exists: a rank that
hangs in such a call would never be found out. It would also have to load torch, once per rank, to reach the store.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import torch.distributed as dist

from bertjob.rundir.world import World
from bertjob.text import counted
from bertjob.train.distributed import peers
from bertjob.train.distributed.peers import Place
from bertjob.train.distributed.secret import SIGNATURE_BYTES, Key

LOOK_SECONDS = 5.0
SILENT_LOOKS: Final = 12
"""Looks without a sign of life after which a rank counts as lost: a minute."""
_RANK_0_FIRST_LOOKS: Final = 4
"""Looks that others wait longer than rank 0, which hears later and has the state to write: once one rank has left, a
launcher ends all."""
_NUMBER_BYTES: Final = 8


class Silence:
    """How many looks ago each of several ranks was last heard of."""

    def __init__(self, ranks: Iterable[int], patience: int) -> None:
        """All of `ranks` have just been heard of; after `patience` looks without a sign they are lost."""
        self._looks = dict.fromkeys(ranks, 0)
        self._patience = patience

    def heard(self, rank: int) -> None:
        """There was a sign of life."""
        self._looks[rank] = 0

    def look(self) -> list[int]:
        """Look once more: the ranks that have been silent for too long."""
        for rank in self._looks:
            self._looks[rank] += 1
        return [rank for rank, looks in self._looks.items() if looks >= self._patience]


class Ring:
    """Datagrams from each rank to the next one: its number of looks, signed."""

    def __init__(self, store: dist.Store, world: World, places: Sequence[Place], key: Key) -> None:
        """Open a socket at this rank's address, and learn where the next rank has its own.

        Raises:
            OSError: there can be no socket.
            RuntimeError: the next rank does not say where it is.
        """
        self._rank, self._key = world.rank, key
        self.former = (world.rank - 1) % world.size
        following = (world.rank + 1) % world.size
        own, there = peers.address(world.rank, places), peers.address(following, places)
        self._socket = socket.socket(socket.AF_INET6 if ":" in own else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((own, 0))
        self._socket.setblocking(False)
        store.set(f"pulse/{world.rank}", str(self._socket.getsockname()[1]))
        self._following = (there, int(store.get(f"pulse/{following}")))
        self._newest = 0

    def send(self, number: int) -> None:
        """Tell the next rank that this one lives; `number` is a larger one each time."""
        text = number.to_bytes(_NUMBER_BYTES, "big")
        with contextlib.suppress(OSError):  # no way there: that is what the next rank notices
            self._socket.sendto(text + self._key.sign(str(self._rank).encode(), text), self._following)

    def heard(self) -> bool:
        """Whether the rank before this one has shown that it lives since the last call."""
        newest = self._newest
        with contextlib.suppress(BlockingIOError, ConnectionError):
            while True:
                sent = self._socket.recv(_NUMBER_BYTES + SIGNATURE_BYTES + 1)
                text, signature = sent[:_NUMBER_BYTES], sent[_NUMBER_BYTES:]
                if self._key.signed(signature, str(self.former).encode(), text):
                    newest = max(newest, int.from_bytes(text, "big"))
        newer, self._newest = newest > self._newest, newest
        return newer


class Pulse:
    """This rank's part: a thread of its own, which never waits for the network."""

    def __init__(
        self, world: World, hosts: Sequence[str], ring: Ring | None, on_silence: Callable[[str], object]
    ) -> None:
        """Prepare it.

        Args:
            world: this rank's place.
            hosts: where the ranks are, in their order.
            ring: the datagrams; None where there can be none.
            on_silence: called once, on the thread, with one line about the ranks that are silent.
        """
        self._rank, self._hosts, self._ring, self._on_silence = world.rank, hosts, ring, on_silence
        self._patience = SILENT_LOOKS + (_RANK_0_FIRST_LOOKS if world.rank else 0)
        self._store = Silence(range(1, world.size) if world.rank == 0 else (0,), self._patience)
        self._former = Silence(() if ring is None else (ring.former,), self._patience)
        self._proved = False
        self._beats: Mapping[int, int] = {}
        self._over = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="pulse", daemon=True).start()

    def stop(self) -> None:
        """Judge no more: the ranks leave one after the other."""
        self._over.set()

    def answered(self) -> None:
        """The store of rank 0 has answered."""
        if self._rank:
            self._store.heard(0)

    def read(self, beats: Mapping[int, int]) -> None:
        """On rank 0: what other ranks have written to the store; one that has written again lives."""
        for rank, beat in beats.items():
            if beat != self._beats.get(rank):
                self._store.heard(rank)
        self._beats = beats

    def _run(self) -> None:
        number = 1
        if self._ring is not None:
            self._ring.send(number)  # at once: it proves the way, without which silence means nothing
        while not self._over.wait(LOOK_SECONDS):
            number += 1
            silent = self._store.look()
            if self._ring is not None:
                self._ring.send(number)
                if self._ring.heard():
                    self._former.heard(self._ring.former)
                    self._proved = True  # a network may carry no datagrams at all
                if self._proved:
                    silent += self._former.look()
            if silent and not self._over.is_set():
                self._on_silence(lost(sorted(set(silent)), self._hosts, self._patience))
                return


def begin(
    world: World, store: dist.Store, places: Sequence[Place], key: Key, on_silence: Callable[[str], object]
) -> Pulse | None:
    """Begin to look for signs of life of the other ranks; None for a rank alone.

    Args:
        world: this rank's place.
        store: rank 0's.
        places: of all ranks.
        key: what datagrams are signed with.
        on_silence: called once, on a thread, with one line about the ranks that are silent.
    """
    if world.size == 1:
        return None
    try:
        ring = Ring(store, world, places, key)
    except OSError:  # the store alone must do
        ring = None
    pulse = Pulse(world, [place.host for place in places], ring, on_silence)
    pulse.start()
    return pulse


def lost(ranks: Sequence[int], hosts: Sequence[str], looks: int) -> str:
    """One line about ranks that have been silent for so many looks."""
    there = dict.fromkeys(hosts[rank] for rank in ranks)
    where = f"on {next(iter(there))}" if len(there) == 1 else f"on {counted(len(there), 'node')}"
    verb = "has" if len(ranks) == 1 else "have"
    seconds = LOOK_SECONDS * looks
    return (
        f"{peers.named(ranks)} {where} {verb} not been heard of for {seconds:.0f} s: the network between is down, or"
        " the node hangs"
    )
