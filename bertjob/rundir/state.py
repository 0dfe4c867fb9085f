"""state.json: the heartbeat that the training writes and the login node reads.

The file is longer than its content: on a full disk, where nothing can be written aside, the state goes into the room
that the file has already. So a run that ends for want of room can still say so.
"""

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bertjob.rundir import atomic
from bertjob.text import is_full

Phase = Literal["starting", "proving", "features", "training", "evaluating", "done", "checkpointed", "failed"]
ENDED: frozenset[Phase] = frozenset({"done", "checkpointed", "failed"})


class RunState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a run stands. Unknown keys of newer versions are passed over."""

    phase: Phase
    time: float
    """Seconds since the epoch when this was written."""
    job_id: str = ""
    """The scheduler's id of the job that wrote it; ``local`` without a scheduler."""
    cluster: str = ""
    """The cluster whose scheduler gave the id; empty where it is not known."""
    host: str = ""
    pid: int = 0
    world_size: int = 1
    network: str = ""
    """What the ranks of several nodes talk over, e.g. ``NCCL 2.27.5 over NET/OFI (cxi)``."""
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    samples_per_second: float | None = None
    eta_seconds: float | None = None
    metrics: Mapping[str, float] = {}
    """Of the final evaluation: those that the task's row lists, in its order."""
    exit_code: int | None = None
    """Set in the phases done (0), checkpointed (85) and failed."""
    error: str = ""
    """One line, in the phase failed, and in the phase checkpointed where ranks were cut off from each other."""
    refused: bool = False
    """The job itself was no good, and training had not begun: there is nothing to keep."""
    warning: str = ""
    """One line that status repeats, e.g. a checkpoint that could not be written."""


class _Scores(msgspec.Struct, frozen=True):
    """The metrics of a state that was written before states had a mapping of them."""

    exact_match: float | None = None
    f1: float | None = None


_DECODER = msgspec.json.Decoder(RunState)
_SCORES = msgspec.json.Decoder(_Scores)
_LONGEST = 1 << 14
"""Bytes; a heartbeat has some hundreds."""
_RESERVE = 2048
"""Bytes of the file: blanks follow the content."""
_CUT = 400
"""Characters that stay of each line where the reserve must do."""


def write_state(path: Path, state: RunState, check: atomic.Check = atomic.unchecked) -> None:
    """Write or replace the heartbeat, unless `check` raises; without room for that, write it over the one there is.

    Raises:
        OSError: it cannot be written, or it stands in its reserve and this is to be known: the disk is full.
    """
    try:
        atomic.write_bytes(path, _encode(state), check=check)
    except OSError as error:
        if is_full(error):
            with contextlib.suppress(OSError):
                check()
                _write_over(path, state)
        raise


def reserve_state(path: Path) -> None:
    """Make room for a heartbeat where there is none yet.

    Raises:
        OSError: there is no room.
    """
    if not path.exists():
        atomic.write_bytes(path, b"".ljust(_RESERVE) + b"\n")


def _encode(state: RunState) -> bytes:
    return msgspec.json.encode(state).ljust(_RESERVE) + b"\n"


def _write_over(path: Path, state: RunState) -> None:
    """Write into a file that has the room; a reader that comes in between finds no state, and looks again."""
    short = msgspec.structs.replace(state, error=state.error[:_CUT], warning=state.warning[:_CUT])
    atomic.write_over(path, _encode(short))


def read_state(path: Path | str) -> RunState | None:
    """The heartbeat, or None where there is none (yet) that can be read."""
    try:  # the system's own calls take a third of Path.read_bytes: status reads thousands
        file = os.open(path, os.O_RDONLY)
        try:
            return _decode(os.read(file, _LONGEST))
        finally:
            os.close(file)
    except (OSError, msgspec.DecodeError):
        return None


def _decode(text: bytes) -> RunState:
    state = _DECODER.decode(text)
    if state.metrics or b'"f1"' not in text:
        return state
    scores = msgspec.structs.asdict(_SCORES.decode(text))
    return msgspec.structs.replace(state, metrics={name: value for name, value in scores.items() if value is not None})


def age(state: RunState, now: float | None = None) -> float:
    """Seconds since the heartbeat was written; 0 when clocks disagree."""
    return max(0.0, (time.time() if now is None else now) - state.time)
