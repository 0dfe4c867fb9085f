"""Bring public data sets: download, check, and only then let the files be seen."""

import contextlib
import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bertjob.errors import DataError, SpecError
from bertjob.rundir import atomic
from bertjob.text import did_you_mean

_CHUNK = 1 << 16
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class File:
    """A file of a data set: its name, size in bytes and sha256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files below one address."""

    address: str
    files: tuple[File, ...]


DATA_SETS = {
    "squad": DataSet(  # SQuAD v1.1 (Rajpurkar et al. 2016), CC BY-SA 4.0
        "https://rajpurkar.github.io/SQuAD-explorer/dataset/",
        (
            File("train-v1.1.json", 30288272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
            File("dev-v1.1.json", 4854279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
        ),
    )
}


def fetch(
    name: str,
    to: Path,
    on_progress: Callable[[str, int, int], object] = lambda name, done, size: None,
    address: str | None = None,
) -> list[Path]:
    """Download a data set; files that are there and right are kept.

    Args:
        name: one of DATA_SETS.
        to: folder for the files; made if need be.
        on_progress: is given file name, bytes so far and bytes in all.
        address: a mirror in place of the data set's own address.

    Returns:
        The paths of the files.

    Raises:
        SpecError: no such data set.
        DataError: a file could not be downloaded, with what to do without a network, or is not what it should be.
    """
    if name not in DATA_SETS:
        raise SpecError(f"{name}: no such data set: {did_you_mean(name, DATA_SETS)}")
    data_set = DATA_SETS[name]
    address = (address or data_set.address).rstrip("/") + "/"
    paths = [to / file.name for file in data_set.files]
    try:
        with _folder(to):
            for path, file in zip(paths, data_set.files, strict=True):
                if not (path.is_file() and _sha256(path) == file.sha256):
                    _download(address + file.name, path, file, on_progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        urls = " ".join(f"-O {address}{file.name}" for file in data_set.files)
        raise DataError(
            f"{address} cannot be reached ({_reason(error)}): where there is a network run `curl {urls}`,"
            f" copy the files to {to.absolute()} and run this again to check them"
        ) from None
    except OSError as error:
        raise DataError(f"{error.filename or to}: cannot be written: {error.strerror}") from None
    return paths


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make a folder and those above it; what was made and is empty in the end goes again."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something, and so do those above it
            for folder in made:  # the deepest first
                folder.rmdir()


def _download(url: str, path: Path, file: File, on_progress: Callable[[str, int, int], object]) -> None:
    digest, done = hashlib.sha256(), 0
    with atomic.replacing(path) as aside:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as body, aside.open("wb") as output:
            while chunk := body.read(_CHUNK):
                output.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                on_progress(file.name, done, file.size)
        if digest.hexdigest() != file.sha256:
            raise DataError(f"{url}: {_difference(done, file, digest.hexdigest())}; nothing was kept, try again")


def _difference(done: int, file: File, found: str) -> str:
    if done < file.size:
        return f"the download stopped after {done} of {file.size} bytes"
    return f"the file has sha256 {found}, not {file.sha256}: it was changed on the way"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return str(said).partition("\n")[0]
