"""What ranks tell each other outside of collectives, through the store that rank 0 keeps: why one of them leaves."""

import time
from dataclasses import dataclass

from torch.distributed import Store

from bertjob.errors import REQUEUE_EXIT_CODE
from bertjob.launch.world import World

_DEPARTURE = "departure"
_LEFT = "left"


@dataclass(frozen=True, slots=True)
class Departure:
    """Why a rank ends before the run is done; the others cannot go on without it.

    Attributes:
        code: exit code of all ranks.
        who: the rank, e.g. ``rank 3 (nid00004)``; empty for rank 0.
        line: what happened.
    """

    code: int
    who: str
    line: str

    @property
    def failed(self) -> bool:
        """Whether something went wrong; else a signal asked the run to stop and to be started again."""
        return self.code != REQUEUE_EXIT_CODE

    def __str__(self) -> str:
        return f"{self.who}: {self.line}" if self.who else self.line


class Notices:
    """A board for all ranks. Every method may raise RuntimeError: rank 0, which keeps the board, is gone."""

    def __init__(self, store: Store, world: World) -> None:
        """Use `store`, a connection of its own."""
        self._store = store
        self._world = world

    def announce(self, departure: Departure) -> Departure:
        """Say why this rank leaves; returns the first departure that was announced, this one or another's."""
        text = f"{departure.code}\n{departure.who}\n{departure.line}"
        return _read(self._store.compare_set(_DEPARTURE, "", text))

    def departure(self) -> Departure | None:
        """The first departure that was announced."""
        return _read(self._store.get(_DEPARTURE)) if self._store.check([_DEPARTURE]) else None

    def leave(self, seconds: float) -> None:
        """Read no more; rank 0 keeps the board until the others have done so, `seconds` at most."""
        deadline = time.monotonic() + seconds
        self._store.add(_LEFT, 1)
        while self._world.rank == 0 and self._store.add(_LEFT, 0) < self._world.size and time.monotonic() < deadline:
            time.sleep(0.05)


def _read(text: bytes) -> Departure:
    code, who, line = text.decode().split("\n", 2)
    return Departure(int(code), who, line)
