"""Files and folders that are there whole or not at all: written beside their place, then renamed.

What is written lies beside its place as ``.NAME.<random>.partial``: another writer of the same file, on this node or
another, never writes into it. A process that is killed leaves it behind; `remove_leftovers` removes it.
"""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

PARTIAL: Final = ".partial"
"""How the names of unfinished files and folders end; they begin with a dot."""


Check = Callable[[], object]
"""Called when all is written and nothing replaced yet; what it raises leaves everything as it was."""


def unchecked() -> None:
    """Nothing stands against it."""


def write_bytes(path: Path, content: bytes | memoryview, *, durable: bool = False, check: Check = unchecked) -> None:
    """Write or replace a file, whose mode stays: a reader sees the old content or the new one.

    Args:
        path: the file.
        content: all of it.
        durable: see `replacing`.
        check: see `replacing`.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    with replacing(path, durable=durable, check=check) as aside:
        aside.write_bytes(content)


def write_json(path: Path, value: Any, *, indent: int = 1, durable: bool = False, check: Check = unchecked) -> None:
    """Write or replace a file as `write_bytes` does, with a value as JSON.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    write_bytes(path, json_bytes(value, indent), durable=durable, check=check)


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file, which is made where it is missing, all of it or nothing.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        append_to(handle, content)
    finally:
        os.close(handle)


def append_to(handle: int, content: bytes) -> None:
    """Add to the end of a file that is open for appending, as `append` does.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    before = os.fstat(handle).st_size
    try:
        if os.write(handle, content) < len(content):  # the system writes what fits, and says nothing of the rest
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.ftruncate(handle, before)
        raise


def write_over(path: Path, content: bytes) -> None:
    """Write a text into a file that has the room, and blanks behind it: what there is to do on a full disk.

    A reader that comes in between finds neither the old content nor the new one.

    Raises:
        OSError: it cannot be written.
    """
    handle = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(handle, content.rstrip().ljust(os.fstat(handle).st_size - 1) + b"\n", 0)
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(value: Any, indent: int = 1) -> bytes:
    """A value as indented JSON; it may hold msgspec's structs, and what else JSON lacks is written as text."""

    def other(value: Any) -> Any:
        return msgspec.to_builtins(value, enc_hook=str)

    text = json.dumps(value, ensure_ascii=False, indent=indent, default=other)
    return text.encode(errors="backslashreplace") + b"\n"  # surrogates, of names that are not UTF-8, as JSON's escapes


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False, check: Check = unchecked) -> Iterator[Path]:
    """A place beside `path` for the body to write a file or a folder to, which is then put in its stead.

    Args:
        path: the file or folder to write or replace. The mode of a file stays.
        durable: have the content on the disk before the name, and the name before this returns. Without it, a node
            that loses power may leave an empty file: good enough for what the next start writes again.
        check: whether it may be put there, asked last: this process may have been replaced while it wrote.

    Raises:
        OSError: it cannot be put there; what was there stays. What the body and `check` raise passes through.
    """
    with beside(path) as aside:
        yield aside
        if durable:
            flush_all(aside)
        check()
        if aside.is_dir():
            _replace_folder(aside, path)
        else:
            _keep_mode(aside, path)
            aside.replace(path)
        if durable:
            flush(path.parent)


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name beside `path` that nobody else has; a file or folder that has it at the end is removed.

    The body makes it: temporary files and folders of Python's own would be closed to the user's group.
    """
    aside = _name_beside(path)
    try:
        yield aside
    finally:
        _remove(aside)


def remove_leftovers(folder: Path, of: str = "") -> None:
    """Remove what killed processes were writing into `folder`; nobody may be writing it now.

    Args:
        folder: where they were writing.
        of: how the names of what they were writing begin.
    """
    for path in folder.glob(f".{of}*{PARTIAL}"):
        _remove(path)


def flush(path: Path) -> None:
    """Have the content of one file, or the names in one folder, on the disk.

    Raises:
        OSError: it is not.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_all(path: Path, mine: Callable[[str], bool] = lambda name: True) -> None:
    """Have a file or all of a folder on the disk, with the names in it.

    Args:
        path: the file or folder.
        mine: which names below the folder to flush.

    Raises:
        OSError: it is not.
    """
    for each in (path, *path.rglob("*")):
        if mine(each.name):
            flush(each)


def _replace_folder(aside: Path, folder: Path) -> None:
    """Rename `aside` to `folder`, of which a former one makes way: no folder is renamed over files."""
    if not folder.exists():
        aside.rename(folder)
        return
    former = _name_beside(folder)
    folder.rename(former)
    try:
        aside.rename(folder)
    except OSError:
        former.rename(folder)
        raise
    _remove(former)


def _keep_mode(aside: Path, path: Path) -> None:
    with contextlib.suppress(OSError):  # nothing is there yet, or the file system has no modes
        mode = path.stat().st_mode
        if mode != aside.stat().st_mode:
            aside.chmod(mode)


def _name_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
