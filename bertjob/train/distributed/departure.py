"""What ranks tell each other outside of collectives: why one of them leaves.

They tell it through the store that rank 0 keeps. A rank that fails before it has reached the store leaves a note in
the run directory; rank 0, which the launcher then ends, would else not know why.
"""

import contextlib
import time
from pathlib import Path

import msgspec

from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError, PreflightError, SchedulerError, SpecError
from bertjob.rundir import atomic
from bertjob.rundir.world import World
from bertjob.train.distributed.signed_store import SignedStore

LOST_PEER = "lost the connection to another rank"
"""How a departure reads whose cause is another rank's silent end."""
TERMINATED = 128 + 15
"""Exit code of a rank that a TERM has ended."""
_REFUSALS = (BertjobError, SpecError, PreflightError, SchedulerError)
_CODES = frozenset((REQUEUE_EXIT_CODE, TERMINATED, *(error.exit_code for error in _REFUSALS)))
"""Exit codes of departures; 0 is never one."""
_DEPARTURE = "departure"


class Departure(msgspec.Struct, frozen=True):
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

    def __init__(self, store: SignedStore, world: World, host: str) -> None:
        """Use `store`, a connection of its own, and say on which host this rank is."""
        self._store = store
        self._world = world
        store.set(f"host/{world.rank}", host)

    def announce(self, departure: Departure) -> Departure:
        """Say why this rank leaves; returns the first departure that was announced, this one or another's."""
        return _read(self._store.compare_set(_DEPARTURE, b"", _text(departure))) or departure

    def departure(self) -> Departure | None:
        """The first departure that was announced."""
        return _read(self._store.get(_DEPARTURE)) if self._store.check([_DEPARTURE]) else None

    def leave(self, seconds: float) -> list[str]:
        """Read no more; rank 0 keeps the board until all others have left it, too.

        Args:
            seconds: how long rank 0 waits for them.

        Returns:
            On rank 0 the ranks that have not left, e.g. ``rank 3 (nid00004)``; on others nothing.
        """
        self._store.set(f"left/{self._world.rank}", "")
        if self._world.rank != 0:
            return []
        deadline = time.monotonic() + seconds
        absent = set(range(1, self._world.size))
        while absent and time.monotonic() < deadline:
            time.sleep(0.05)
            absent -= {rank for rank in absent if self._store.check([f"left/{rank}"])}
        return [self._name(rank) for rank in sorted(absent)]

    def _name(self, rank: int) -> str:
        known = self._store.check([f"host/{rank}"])
        return f"rank {rank} ({self._store.get(f'host/{rank}').decode()})" if known else f"rank {rank}"


def leave_note(path: Path, departure: Departure) -> None:
    """Write down why this rank leaves; a disk that takes no note costs the note."""
    with contextlib.suppress(OSError):
        atomic.write_bytes(path, _text(departure))


def take_note(path: Path) -> Departure | None:
    """Read what another rank left, if one did, and remove it: it is true of this start alone."""
    with contextlib.suppress(OSError):
        text = path.read_bytes()
        path.unlink()
        return _read(text)
    return None


def _text(departure: Departure) -> bytes:
    line = departure.line.encode(errors="backslashreplace").decode()  # paths that are not UTF-8
    return msgspec.json.encode(msgspec.structs.replace(departure, line=line))


def _read(text: bytes) -> Departure | None:
    """What was written, if a rank can have written it."""
    try:
        departure = msgspec.json.decode(text, type=Departure)
    except msgspec.MsgspecError:
        return None
    return departure if departure.code in _CODES else None
