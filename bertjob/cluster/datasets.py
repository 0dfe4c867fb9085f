"""Bring public data sets: download, check, and only then let the files be seen."""

import contextlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bertjob.errors import DataError, SpecError
from bertjob.formats.checksums import Checksum, checksum
from bertjob.rundir import atomic
from bertjob.text import did_you_mean, reason

_CHUNK = 1 << 16
_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class DataSet:
    """Files below one address, by name."""

    address: str
    files: Mapping[str, Checksum]


DATA_SETS = {
    "squad": DataSet(  # SQuAD v1.1 (Rajpurkar et al. 2016), CC BY-SA 4.0
        "https://rajpurkar.github.io/SQuAD-explorer/dataset/",
        {
            "train-v1.1.json": Checksum(30288272, "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955"),
            "dev-v1.1.json": Checksum(4854279, "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9"),
        },
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
    paths = {to / file: expected for file, expected in data_set.files.items()}
    try:
        with _folder(to):
            for path, expected in paths.items():
                if not (path.is_file() and checksum(path) == expected):
                    _download(address + path.name, path, expected, on_progress)
    except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        urls = " ".join(f"-O {address}{file}" for file in data_set.files)
        raise DataError(
            f"{address} cannot be reached ({_reason(error)}): where there is a network run `curl {urls}`,"
            f" copy the files to {to.absolute()} and run this again to check them"
        ) from None
    except OSError as error:
        raise DataError(f"{error.filename or to}: cannot be written: {reason(error)}") from None
    return list(paths)


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


def _download(url: str, path: Path, expected: Checksum, on_progress: Callable[[str, int, int], object]) -> None:
    with atomic.replacing(path) as aside:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as body, aside.open("wb") as output:
            coming = body.length  # by Content-Length; None without
            if coming is not None and coming > expected.bytes:
                raise DataError(f"{url}: has {coming} bytes, not {expected.bytes}: it is another file")
            while chunk := body.read(_CHUNK):
                output.write(chunk)
                if output.tell() > expected.bytes:
                    raise DataError(f"{url}: has more than its {expected.bytes} bytes: it is another file")
                on_progress(path.name, output.tell(), expected.bytes)
        if (found := checksum(aside)) != expected:
            raise DataError(f"{url}: {_difference(found, expected)}; nothing was kept, try again")


def _difference(found: Checksum, expected: Checksum) -> str:
    if found.bytes < expected.bytes:
        return f"the download stopped after {found.bytes} of {expected.bytes} bytes"
    return f"the file has sha256 {found.sha256}, not {expected.sha256}: it was changed on the way"


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return str(said).partition("\n")[0]
