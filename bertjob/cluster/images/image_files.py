"""Files that engines make of images: whole, or not there."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from bertjob.cluster.guard import Guard, removed_if_killed
from bertjob.errors import BertjobError
from bertjob.launch.engines.types import Order
from bertjob.text import reason

_BEGINNING = f".part-{socket.gethostname()}-"


def files(order: Order) -> tuple[str, ...]:
    """The files that an order makes: the image, and an archive where one is built."""
    return tuple(filter(None, (order.file, order.archive if order.context else "")))


@contextlib.contextmanager
def whole(order: Order) -> Iterator[tuple[Order, Guard]]:
    """An order with other names for what it makes, which get their own once everything has gone well.

    What is left of a failure, an interrupt or a kill goes, and in any case what was made on the way; the guard is to be
    told of the process that makes it.

    Raises:
        BertjobError: all commands went well, and yet there is no file.
    """
    parts = {path: _part(path) for path in files(order)}
    remains = [name for part in parts.values() for name in (part, f"{part}.tar")]  # .tar: between builder and engine
    for path in parts:
        _remove_abandoned(path)
    with removed_if_killed(*remains) as guard:
        try:
            own = {key: parts.get(path, path) for key, path in (("file", order.file), ("archive", order.archive))}
            yield replace(order, **own), guard
            for path, part in parts.items():
                _put(part, path)
        finally:
            for name in remains:
                _remove(name)


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[Guard]:
    """A folder that commands make: one that was not there goes again unless all of them have gone well."""
    made = () if os.path.lexists(path) else (path,)
    with removed_if_killed(*made) as guard:
        try:
            yield guard
        except BaseException:
            for name in made:
                _remove(name)
            raise


def _part(path: str) -> str:
    """Beside it, and with its ending, by which engines know what they are to make."""
    return str(Path(path).with_name(f"{_BEGINNING}{os.getpid()}-{Path(path).name}"))


def _remove_abandoned(path: str) -> None:
    """What is left of processes of this host that went down together with their guard."""
    own = Path(path)
    with contextlib.suppress(OSError):
        for entry in own.parent.iterdir():
            process, _, name = entry.name.removeprefix(_BEGINNING).partition("-")
            ours = entry.name.startswith(_BEGINNING) and name in (own.name, f"{own.name}.tar")
            if ours and process.isdecimal() and not Path("/proc", process).exists():
                _remove(str(entry))


def _put(part: str, path: str) -> None:
    if not os.path.lexists(part):
        raise BertjobError(f"{path}: the engine ended well and has not written it")
    try:
        if Path(path).is_dir() and not Path(path).is_symlink():
            former = Path(path).replace(f"{part}.former")
            Path(part).replace(path)
            shutil.rmtree(former, ignore_errors=True)
        else:
            Path(part).replace(path)
    except OSError as error:
        raise BertjobError(f"{path}: cannot be put in its place: {reason(error)}") from None


def _remove(path: str) -> None:
    if Path(path).is_dir() and not Path(path).is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)
