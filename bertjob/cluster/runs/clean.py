"""Remove the folders of runs: those that came to nothing, or those that a person names."""

import errno
import os
import socket
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from bertjob.cluster.runs import catalog, contents, outcome
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.runs.status import Row
from bertjob.cluster.scheduler_answers import JobState
from bertjob.errors import BertjobError, PreflightError
from bertjob.rundir.directory import RunDir
from bertjob.text import reason

_SHOWN = 3


class Rest(msgspec.Struct, frozen=True):
    """What is left of a run that has ended."""

    name: str
    state: str
    """As in `status`."""
    run_dir: str
    bytes: int
    """Size of all its files."""


def came_to_nothing(found: Sequence[Run], rows: Sequence[Row]) -> list[Rest]:
    """What is left of those runs that ended without success and have neither a model nor a checkpoint to go on from.

    Args:
        found: runs.
        rows: where each of them stands.
    """
    here = socket.gethostname()
    return [
        _rest(row)
        for run, row in zip(found, rows, strict=True)
        if row.state != JobState.COMPLETED and not _keeps_something(run.run_dir) and not refusal(run, row, here)
    ]


def named(found: Sequence[Run], rows: Sequence[Row]) -> list[Rest]:
    """What is left of runs that a person names, whatever they hold.

    Raises:
        PreflightError: one has not ended, or nobody can tell, or its folder holds other things; says which.
    """
    here = socket.gethostname()
    for run, row in zip(found, rows, strict=True):
        if why := refusal(run, row, here):
            raise PreflightError(f"{row.name} {why}")
    return [_rest(row) for row in rows]


def refusal(run: Run, row: Row, here: str) -> str:
    """Why the folder of a run must stay; empty where nothing speaks for it.

    Args:
        run: the run.
        row: where it stands.
        here: name of this machine.
    """
    if not row.over:
        return (
            "may be at work: nobody can tell" if row.state == JobState.UNKNOWN else f"is {row.state}: cancel it first"
        )
    if not run.scheduler.queues and row.state == outcome.LOST and run.submission.host != here:
        return f"was started on {run.submission.host}, which alone can tell whether it has ended"
    try:
        _, others = contents.parted(Path(row.run_dir))
    except OSError as error:
        return f"cannot be read: {error.filename}: {reason(error)}"
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        named = ", ".join(others[:_SHOWN])
        return f"holds {named}{more}, which bertjob has not put there: move it away, or remove {row.run_dir} yourself"
    return ""


def remove(rests: Collection[Rest]) -> None:
    """Remove what bertjob has written into the folders, and those that are empty then, and what the index says of them.

    Raises:
        BertjobError: one cannot be removed, or holds other things by now, which stay.
    """
    for rest in rests:
        try:
            _remove(RunDir(Path(rest.run_dir)))
        except OSError as error:
            raise BertjobError(f"{error.filename or rest.run_dir}: cannot be removed: {reason(error)}") from None
        catalog.forget(rest.run_dir)


def _remove(run_dir: RunDir) -> None:
    if run_dir.path.is_symlink():
        raise OSError(errno.ENOTDIR, "it is a symbolic link", str(run_dir.path))
    contents.remove(run_dir)


def _rest(row: Row) -> Rest:
    return Rest(row.name, row.state, row.run_dir, _size(row.run_dir))


def _keeps_something(run_dir: RunDir) -> bool:
    return run_dir.model.exists() or any(run_dir.checkpoints.glob("step-*"))


def _size(folder: str) -> int:
    return sum(os.lstat(f"{path}/{file}").st_size for path, _, files in os.walk(folder) for file in files)
