"""Hashes of the packages that go into the image: ``python -m tests.locks [LOCK…]``, or ``make locks``.

Versions in container/*.lock are people's, and their hashes the index's: to take another version, change it there and
run this. Each lock names its only index, and has the hashes of the files that pip may choose for the Pythons and
machines below: of wheels where it says ``--only-binary :all:``, of sources where it says ``--no-binary :all:``. Nothing
is written unless all that was asked for is complete.
"""

import functools
import html.parser
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from bertjob.cluster.images.locks import Pin, canonical
from bertjob.config.bounded import read_stream
from bertjob.text import reason

CONTAINER = Path(__file__).resolve().parent.parent / "container"
PYTHONS = ((3, 11), (3, 12), (3, 13))
MACHINES = ("x86_64", "aarch64")
_GLIBC = range(5, 37)
"""Minor versions of glibc 2: from manylinux1's to that of Debian bookworm, under the CPU variant."""
_OLD = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
_MOST = 64 << 20
"""Bytes of an index's page; the largest have some megabytes."""
_ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.1"
_PIN = re.compile(r"(?m)^([A-Za-z0-9][\w.-]*)==([\w.+!]+)((?:[ \t]*\\\n|[ \t]+--hash=\S+)*)$")


class LockError(Exception):
    """One line: what the index lacks, or how it cannot be asked."""


@dataclass(frozen=True)
class File:
    """What an index says of a file: its name, its SHA-256 or nothing, and why it was withdrawn."""

    name: str
    sha256: str
    yanked: str


def locked(text: str, index: str = "") -> str:
    """A lock's text with the hashes that its index has now.

    Args:
        text: of a lock, with or without hashes.
        index: another address of the same index.

    Raises:
        LockError: the lock does not say where from, or the index lacks a file.
    """
    if len(own := re.findall(r"(?m)^--index-url (\S+)$", text)) != 1:
        raise LockError(f"expected one line --index-url URL, got {len(own)}")
    sources = "\n--no-binary :all:\n" in text
    pins = [Pin(canonical(name), version, ()) for name, version, _ in _PIN.findall(text)]
    with ThreadPoolExecutor(8) as pool:
        pages = pool.map(lambda pin: read_index(index or own[0], pin.name), pins)
        found = {pin.name: hashes(pin, page, sources) for pin, page in zip(pins, pages, strict=True)}
    return _PIN.sub(
        lambda pin: " \\\n    --hash=sha256:".join((f"{pin[1]}=={pin[2]}", *found[canonical(pin[1])])), text
    )


def hashes(pin: Pin, files: Iterable[File], sources: bool) -> list[str]:
    """The SHA-256 of each file of a release that pip may choose, sorted.

    Raises:
        LockError: a file was withdrawn or has no hash, or there is none for a Python on a machine.
    """
    release = f"{pin.name}=={pin.version}"
    chosen: dict[File, frozenset[Tag]] = {}
    for file in files:
        tags = _tags(file.name, pin, sources)
        if tags is not None and (sources or any(tags & own for own in _platforms().values())):
            chosen[file] = tags
    for file in chosen:
        if file.yanked:
            raise LockError(f"{release}: {file.name} was withdrawn: {file.yanked}")
        if not re.fullmatch("[0-9a-f]{64}", file.sha256):
            raise LockError(f"{release}: the index has no SHA-256 of {file.name}")
    lacking = [] if sources else [who for who, own in _platforms().items() if not any(own & t for t in chosen.values())]
    if lacking or not chosen:
        raise LockError(f"{release}: the index has no {'source' if sources else 'wheel'} {', '.join(lacking)}".rstrip())
    return sorted({file.sha256 for file in chosen})


def read_index(index: str, name: str) -> list[File]:
    """All files of a package, by the simple API: JSON (PEP 691), or HTML (PEP 503).

    Raises:
        LockError: the index does not answer with one.
    """
    address = f"{index.rstrip('/')}/{name}/"
    if urllib.parse.urlsplit(address).scheme not in ("https", "http"):
        raise LockError(f"{address}: expected an address of https")
    try:
        request = urllib.request.Request(address, headers={"Accept": _ACCEPT})
        with urllib.request.urlopen(request, timeout=60) as answer:
            kind, content = answer.headers.get_content_type(), read_stream(answer, _MOST, address)
        return list(_of_json(content) if kind.endswith("json") else _of_html(content.decode()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockError(f"{address}: {reason(error)}") from None


def _of_json(content: bytes) -> Iterator[File]:
    for file in json.loads(content)["files"]:
        yanked = file.get("yanked", False)
        yield File(file["filename"], file["hashes"].get("sha256", ""), str(yanked) if yanked else "")


def _of_html(text: str) -> Iterator[File]:
    found: list[File] = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            said = dict(attrs)
            if tag == "a" and (link := said.get("href")):
                path, _, fragment = link.partition("#")
                yanked = (said["data-yanked"] or "no reason given") if "data-yanked" in said else ""
                name = urllib.parse.unquote(path.rpartition("/")[2])
                found.append(File(name, fragment.removeprefix("sha256="), yanked))

    Links().feed(text)
    return iter(found)


def _tags(file: str, pin: Pin, sources: bool) -> frozenset[Tag] | None:
    """The tags of a wheel, none for a source; None where the file is none of the release."""
    try:
        name, version, tags = (*parse_sdist_filename(file), frozenset()) if sources else _wheel(file)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None
    return tags if (name, version) == (pin.name, Version(pin.version)) else None


def _wheel(file: str) -> tuple[str, Version, frozenset[Tag]]:
    name, version, _, tags = parse_wheel_filename(file)
    return name, version, tags


@functools.cache
def _platforms() -> dict[str, frozenset[Tag]]:
    """What each Python can install on each machine."""
    found = {}
    for machine in MACHINES:
        names = [f"manylinux_2_{minor}_{machine}" for minor in _GLIBC]
        names += [f"{old}_{machine}" for old in _OLD.values()] + [f"linux_{machine}"]
        for python in PYTHONS:
            interpreter = f"cp{python[0]}{python[1]}"
            tags = (*cpython_tags(python, platforms=names), *compatible_tags(python, interpreter, names))
            found[f"{interpreter} on {machine}"] = frozenset(tags)
    return found


def main(names: list[str]) -> int:
    """Write the locks of these names, or all, again."""
    paths = [Path(name) for name in names] or sorted(CONTAINER.glob("*.lock"))
    changed: dict[Path, str] = {}
    for path in paths:
        try:
            changed[path] = locked(path.read_text())
        except LockError as error:
            print(f"{path}: {error}; no lock was written", file=sys.stderr)
            return 1
    for path, text in changed.items():
        path.write_text(text)
        print(f"{path}: {text.count('==')} packages, {text.count('--hash=')} files")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
