"""This machine: the facts that plans are made from."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bertjob.errors import PreflightError
from bertjob.launch.resolve import Here

_LINKS = 40
"""Links that Linux follows one after another."""


def working_directory() -> Path:
    """Where relative paths start from.

    Raises:
        PreflightError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise PreflightError(f"the working directory is gone ({error.strerror}): change to another one") from None


def here() -> Here:
    """What a plan needs to know of the machine it is made on.

    Raises:
        PreflightError: the working directory is gone.
    """
    return Here(
        python=sys.executable,
        cwd=str(working_directory()),
        cpus=len(os.sched_getaffinity(0)),
        gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        environment=dict(os.environ),
        is_folder=os.path.isdir,
        linked=linked,
    )


def linked(path: str) -> list[str]:
    """Folders that the symbolic links at a path, and in it, lead to: the files of a hub's snapshot link to its blobs.

    As the links spell them, since that is how they are followed inside a container.
    """
    place = Path(path)
    try:
        entries = [place, *(place.iterdir() if place.is_dir() else ())]
    except OSError:  # the preflight checks name what cannot be read
        entries = [place]
    ends = {end for entry in entries for end in _hops(entry)}
    return sorted({str(end if end.is_dir() else end.parent) for end in ends} - {path, str(place.parent)})


def _hops(path: Path) -> Iterator[Path]:
    """Where a symbolic link leads, one after another."""
    for _ in range(_LINKS):
        try:
            path = Path(os.path.normpath(path.parent / path.readlink()))  # not resolve(): only this link is followed
        except OSError:  # no link: the end of the way
            return
        yield path
