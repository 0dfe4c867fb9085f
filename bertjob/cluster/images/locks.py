"""The locks of bertjob's image: packages by version and SHA-256, from one index for each file.

They are files of requirements as pip reads them. `make locks` (tests/locks.py) writes their hashes; this module reads
them, and holds a folder of files that stands in for the index (`--wheels`) against them before a builder starts.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from bertjob.config.bounded import SMALL, read_text
from bertjob.errors import DataError, SpecError
from bertjob.formats.checksums import checksum
from bertjob.text import reason

Variant = Literal["gpu", "cpu"]

BUILD: Final = "requirements.build.lock"
SOURCE: Final = "requirements.source.lock"
OVERLAY: Final = (BUILD, SOURCE, "requirements.lock")
"""What training needs beside torch; the tools come first, since packages are built with them."""
VARIANTS: Final[Mapping[Variant, tuple[str, ...]]] = {
    "gpu": OVERLAY,
    "cpu": (*OVERLAY, "requirements.cpu.lock", "requirements.torch.lock"),
}
PYPI: Final = "https://pypi.org/simple"
"""The index that a mirror may stand in for."""

_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([\w.+!]+)((?: +--hash=sha256:[0-9a-f]{64})+)")
_OPTIONS = ("--only-binary :all:", "--no-binary :all:")
_ARCHIVES = (".whl", ".tar.gz", ".zip")


class Pin(msgspec.Struct, frozen=True):
    """One package.

    Attributes:
        name: as pip compares names: small letters, with ``-`` between words.
        version: exactly this one.
        hashes: SHA-256 of each file that may be installed.
    """

    name: str
    version: str
    hashes: tuple[str, ...]


class Lock(msgspec.Struct, frozen=True):
    """A file of pins.

    Attributes:
        path: of the file.
        index: address of the only index that pip asks for them.
        pins: in the file's order.
    """

    path: Path
    index: str
    pins: tuple[Pin, ...]


def canonical(name: str) -> str:
    """A package's name as pip compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        DataError: it cannot be read.
        SpecError: a line is none of a lock, has no hash, or the file names no index or several.
    """
    try:
        text = read_text(path, SMALL)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {reason(error)}") from None
    indices, pins = [], []
    for line in re.sub(r" *\\\n *", " ", text).splitlines():
        if not line.strip() or line.startswith("#") or line in _OPTIONS:
            continue
        if line.startswith("--index-url "):
            indices.append(line.split()[1])
        elif found := _PIN.fullmatch(line):
            pins.append(Pin(canonical(found[1]), found[2], tuple(re.findall("[0-9a-f]{64}", found[3]))))
        else:
            raise SpecError(
                f"{path}: {line[:60]!r}: expected NAME==VERSION with --hash=sha256:…; `make locks` writes them"
            )
    if len(indices) != 1:
        raise SpecError(f"{path}: expected one line --index-url URL, got {len(indices)}")
    return Lock(path, indices[0], tuple(pins))


def check_mirror(url: str) -> None:
    """Check that an address can stand in a lock, for pip and for the Dockerfile's sed.

    Raises:
        SpecError: it cannot.
    """
    if not re.fullmatch(r"(https?|file)://[^\s|&\\#\"'`$]+", url):
        raise SpecError(f"--index {url}: expected an address such as https://mirror.example/simple")


def with_mirror(text: str, mirror: str) -> str:
    """A lock's text with a mirror of PyPI in its place; pip takes a file's index before all its settings."""
    return text.replace(f"--index-url {PYPI}\n", f"--index-url {mirror}\n")


def check_files(folder: Path, locks: Sequence[Lock]) -> None:
    """Check that a folder has a file of each pin, and of pinned versions no file but those of the locks.

    Files of other packages and versions are not looked at, since pip takes none of them.

    Raises:
        SpecError: a file is not the one of the lock, or none is there.
        DataError: a file cannot be read.
    """
    pins = {(pin.name, pin.version): (pin, lock) for lock in locks for pin in lock.pins}
    missing = dict(pins)
    for path in sorted(folder.iterdir()):
        known = pins.get(_release(path.name))
        if known is None:
            continue
        pin, lock = known
        if not path.is_file():
            raise SpecError(f"--wheels {folder}: {path.name}: is not a file")
        try:
            found = checksum(path).sha256
        except OSError as error:
            raise DataError(f"{path}: {reason(error)}") from None
        if found not in pin.hashes:
            raise SpecError(
                f"--wheels {folder}: {path.name}: its SHA-256 is {found}, and {lock.path.name} expects"
                f" {' or '.join(pin.hashes)}: replace it by the file of the index ({_remedy(folder, lock)})"
            )
        missing.pop((pin.name, pin.version), None)
    for (name, version), (_, lock) in missing.items():
        raise SpecError(f"--wheels {folder}: there is no file of {name}=={version}: {_remedy(folder, lock)}")


def _release(file: str) -> tuple[str, str]:
    """Name and version that a file of a package has by its name; empty for other files."""
    ending = next((ending for ending in _ARCHIVES if file.endswith(ending)), None)
    if ending is None:
        return "", ""
    stem = file.removesuffix(ending)
    name, _, version = stem.partition("-") if ending == ".whl" else stem.rpartition("-")
    return canonical(name), version.partition("-")[0]


def _remedy(folder: Path, lock: Lock) -> str:
    return (
        f"`pip download --no-deps --require-hashes --dest {folder} --requirement {lock.path}` brings all of that lock"
    )
