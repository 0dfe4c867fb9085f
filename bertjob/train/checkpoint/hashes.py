"""MANIFEST.json, by which a folder can prove that it is complete, and writes that fail on all ranks or on none."""

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from safetensors import SafetensorError

from bertjob.errors import CheckpointError
from bertjob.rundir.atomic import json_bytes
from bertjob.train.distributed.ranks import Ranks

MANIFEST = "MANIFEST.json"
_THREADS = 4


class Entry(msgspec.Struct, frozen=True):
    """One file."""

    bytes: int
    sha256: str


def write_manifest(folder: Path) -> None:
    """List what is in `folder` now.

    Raises:
        OSError: a file cannot be read, or the manifest not written.
    """
    names = [file.relative_to(folder).as_posix() for file in files(folder)]
    with ThreadPoolExecutor(_THREADS) as pool:  # hashing releases the interpreter
        entries = dict(zip(names, pool.map(lambda name: _entry(folder / name), names), strict=True))
    (folder / MANIFEST).write_bytes(json_bytes(entries))


def damage(folder: Path) -> str:
    """What is wrong with `folder` by its manifest; empty when it is whole."""
    try:
        entries = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, Entry])
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except OSError as error:
        return f"{MANIFEST} cannot be read ({error.strerror})"
    except msgspec.MsgspecError:
        return f"{MANIFEST} is damaged"
    with ThreadPoolExecutor(_THREADS) as pool:
        damages = pool.map(lambda name: _damage(folder / name, name, entries[name]), entries)
        return next(filter(None, damages), "")


def files(folder: Path) -> Iterator[Path]:
    """All files below `folder` but its manifest, in the order of their names."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path != folder / MANIFEST)


def _entry(path: Path) -> Entry:
    with path.open("rb") as file:
        return Entry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _damage(path: Path, name: str, expected: Entry) -> str:
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            return f"{name} has {size} bytes instead of {expected.bytes}"
        return "" if _entry(path) == expected else f"{name} is not what was written (SHA-256 differs)"
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror})"


def write_together(ranks: Ranks, write: Callable[[], object]) -> None:
    """Let every rank write its part; called by all ranks.

    Raises:
        CheckpointError: on all ranks, when one could not write; says which and why.
    """
    trouble = ""
    try:
        write()
    except (OSError, SafetensorError, CheckpointError) as error:
        trouble = write_trouble(error)
    (failed,) = ranks.any(bool(trouble))
    if failed:
        troubles = dict.fromkeys(filter(None, ranks.gather(trouble)))
        raise CheckpointError("; ".join(troubles))


def write_trouble(error: Exception) -> str:
    """Why something could not be written, in words."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
    return next(iter(str(error).splitlines()), type(error).__name__)
