"""Sizes and SHA-256 of files; MANIFEST.json, by which a folder can prove that it is complete."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from bertjob.rundir.atomic import json_bytes
from bertjob.text import reason

MANIFEST: Final = "MANIFEST.json"
_THREADS: Final = 4


class Checksum(msgspec.Struct, frozen=True):
    """What a file held when it was written."""

    bytes: int
    sha256: str


def checksum(path: Path) -> Checksum:
    """The checksum of a file as it is now.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Checksum(file.tell(), digest.hexdigest())


def checksum_of(content: bytes | memoryview) -> Checksum:
    """The checksum of a file with this content."""
    return Checksum(len(content), hashlib.sha256(content).hexdigest())


def damage(path: Path, expected: Checksum) -> str:
    """How a file differs from what was written, to put behind its name; empty where it does not."""
    try:
        size = path.stat().st_size
        if size != expected.bytes:
            return f"has {size} bytes instead of {expected.bytes}"
        return "" if checksum(path) == expected else "is not what was written (SHA-256 differs)"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({reason(error)})"


def write_manifest(folder: Path) -> None:
    """List all files below `folder`, as they are now, in its manifest.

    Raises:
        OSError: a file cannot be read, or the manifest not written.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    with ThreadPoolExecutor(_THREADS) as pool:  # hashing releases the interpreter
        names = (file.relative_to(folder).as_posix() for file in files)
        checksums = dict(zip(names, pool.map(checksum, files), strict=True))
    (folder / MANIFEST).write_bytes(json_bytes(checksums))


def folder_damage(folder: Path) -> str:
    """What is wrong with `folder` by its manifest; empty where it is whole."""
    try:
        checksums = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, Checksum])
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except OSError as error:
        return f"{MANIFEST} cannot be read ({reason(error)})"
    except msgspec.MsgspecError:
        return f"{MANIFEST} is damaged"
    with ThreadPoolExecutor(_THREADS) as pool:
        damages = zip(checksums, pool.map(lambda name: damage(folder / name, checksums[name]), checksums), strict=True)
        return next((f"{name} {what}" for name, what in damages if what), "")
