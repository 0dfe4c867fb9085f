"""Files that engines make of images: whole, or not there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from bertjob.errors import BertjobError
from bertjob.launch.engines.types import Order
from bertjob.text import reason


def files(order: Order) -> tuple[str, ...]:
    """The files that an order makes: the image, and an archive where one is built."""
    return tuple(filter(None, (order.file, order.archive if order.context else "")))


@contextlib.contextmanager
def whole(order: Order) -> Iterator[Order]:
    """An order with other names for what it makes, which get their own once everything has gone well.

    What is left of a failure or an interrupt goes, and in any case what was made on the way.

    Raises:
        BertjobError: all commands went well, and yet there is no file.
    """
    parts = {path: _part(path) for path in files(order)}
    try:
        yield replace(order, file=parts.get(order.file, order.file), archive=parts.get(order.archive, order.archive))
        for path, part in parts.items():
            _put(part, path)
    finally:
        for part in parts.values():
            _remove(part)
            _remove(f"{part}.tar")  # between builder and engine


def _part(path: str) -> str:
    """Beside it, and with its ending, by which engines know what they are to make."""
    return str(Path(path).with_name(f".part-{os.getpid()}-{Path(path).name}"))


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
