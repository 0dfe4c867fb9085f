"""Archives of images: is it one, is it whole, and what is the image called in it?"""

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from bertjob.errors import DataError
from bertjob.launch.engines.docker import ARCHIVE_WANTED
from bertjob.text import reason

_COMPRESSED: dict[bytes, Callable[[Path], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}
"""First bytes, and what reads on."""
_BROKEN = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
_CHUNK = 1 << 20
_BLOCK = 512
"""A header of tar, and each half of the mark at an archive's end, which is zeros."""


class _Archived(msgspec.Struct):
    """An entry of a docker-archive's manifest.json."""

    names: list[str] | None = msgspec.field(default=None, name="RepoTags")


def check_archive(path: Path) -> str:
    """The file is an archive as ``podman save --format docker-archive`` and ``docker save`` write them.

    Returns:
        The image's name in it; empty for one without a name, and for a compressed one, which would have to be read
        to its end.

    Raises:
        DataError: it is not, or is cut off; says what it is.
    """
    try:
        with path.open("rb") as file:
            begins = file.read(_BLOCK)
        return _first_member(path) if begins.startswith(tuple(_COMPRESSED)) else _name(path)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file") from None
    except (*_BROKEN, msgspec.MsgspecError):
        if not begins:
            raise DataError(f"{path}: is empty; copy it again") from None
        if is_damaged(path):
            raise damaged(path) from None
        if len(begins) < _BLOCK and begins[257:262] == b"ustar":
            raise _cut_off(path) from None
        raise DataError(f"{path}: is no archive of an image; {ARCHIVE_WANTED}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {reason(error)}") from None


def damaged(path: Path) -> DataError:
    """The error for an archive that is not whole."""
    return DataError(f"{path}: is cut off or damaged: copy it again, and compare checksums")


def is_damaged(path: Path) -> bool | None:
    """Whether a compressed archive cannot be unpacked to its end, all of which is read; None for others."""
    try:
        with path.open("rb") as file:
            first = file.read(8)
    except OSError:
        return None
    unpack = next((unpack for magic, unpack in _COMPRESSED.items() if first.startswith(magic)), None)
    if unpack is None:
        return None
    try:
        with unpack(path) as content:
            while content.read(_CHUNK):
                pass
        with unpack(path) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for _ in archive:
                pass
    except tarfile.ReadError as error:
        return "unexpected end" in str(error)  # else it holds no tar
    except (*_BROKEN, OSError):
        return True
    return False


def _first_member(path: Path) -> str:
    with tarfile.open(path) as compressed:
        compressed.next()
    return ""


def _name(path: Path) -> str:
    with tarfile.open(path, "r:") as archive:
        try:
            members = {member.name.removeprefix("./"): member for member in archive}
        except tarfile.ReadError:
            raise _cut_off(path) from None
        if not _has_end(path, archive.offset):
            raise _cut_off(path)
        if "manifest.json" not in members:
            kind = "an image in OCI's form" if "oci-layout" in members else "an archive of files and not of an image"
            raise DataError(f"{path}: is {kind}; {ARCHIVE_WANTED}")
        file = archive.extractfile(members["manifest.json"])
        assert file is not None
        images = msgspec.json.decode(file.read(), type=tuple[_Archived, ...])
    return images[0].names[0] if images and images[0].names else ""


def _has_end(path: Path, offset: int) -> bool:
    """Whether the mark of an archive's end, blocks of zeros, stands behind its last member."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(_BLOCK) == bytes(_BLOCK)


def _cut_off(path: Path) -> DataError:
    return DataError(f"{path}: is cut off after {path.stat().st_size} bytes: copy it again, and compare checksums")
