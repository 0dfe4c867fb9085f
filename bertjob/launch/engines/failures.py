"""How engines report that an image cannot run, and what it means: to be read from a job's log.

The patterns are those of Podman 4.3, runc 1.1, Charliecloud 0.31, Sarus 1.7, Apptainer 1.4 and enroot 4.1; those of
Podman, runc, Charliecloud and Sarus are as their logs showed them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple


class _Words(NamedTuple):
    """A line of a log, and what it means: a text that may name the pattern's groups, as ``str.format`` has them."""

    pattern: str
    meaning: str


_BRING = "bring it by `bertjob image pull` or `bertjob image load`, or name another by --image"
_OTHER_PYTHON = "name the image's own by `python` in the site file"
_FAILURES: Sequence[_Words] = (
    _Words(  # Podman, Docker
        r"^Error: (?:initializing source docker://|unable to copy from source docker://)(\S+?): (.*)",
        f"image {{0}} is not here and cannot be pulled; {_BRING}",
    ),
    _Words(r"^Error: short-name \"(\S+?)\" did not resolve", f"image {{0}} is not here; {_BRING}"),
    _Words(r"^Error: (\S+?): image not known$", f"image {{0}} is not here; {_BRING}"),
    _Words(r"^Unable to find image '([^']+)' locally$", f"image {{0}} is not here; {_BRING}"),
    _Words(r"Image (\S+) is not available", f"image {{0}} is not here; {_BRING}"),  # Sarus
    _Words(  # Apptainer
        r"^FATAL: +could not open image (\S+?): .*(?:no such file|failed to retrieve path)",
        f"image {{0}} is not here; {_BRING}",
    ),
    _Words(  # pyxis and enroot
        r"(?:error|ERROR)[:\]].*?(?:No such file or directory: (\S+\.sqsh)|invalid image format: (\S+))",
        "image {0}{1} is missing or damaged; load it again by `bertjob image load`",
    ),
    _Words(  # Charliecloud; libsquashfuse names its version before
        r"^ch-run\[\d+\]: error: can't open SquashFS: (\S+?);",
        "image {0} is damaged or not a SquashFS file; load it again by `bertjob image load`",
    ),
    _Words(
        r"^FATAL: +.*?(\S+): .*image format not recognized",
        "image {0} is damaged or not an image; load it again by `bertjob image load`",
    ),
    _Words(
        r"(?:squashfs|SQUASHFS).*(?:corrupt|Can't find a SQUASHFS|can't read superblock)",
        "the image is damaged; load it again by `bertjob image load`",
    ),
    _Words(  # Podman
        r"^Error: creating container storage: .*: (?:[Ss]tat|readlink) (\S+): no such file",
        "the image is damaged: {0} is missing in the engine's store; load it again by `bertjob image load`",
    ),
    _Words(
        r"^Error: (.*(?:layer|blob|digest|manifest).*(?:corrupt|unexpected EOF|does not match|no such file).*)",
        "the image is damaged: {0}; load it again by `bertjob image load`",
    ),
    _Words(  # runc's and the engines' words, whoever has called execve(2)
        r"^(?:.*?exec |.*exec: \"|.*can't execve\(2\): |.*execve\(\): )([^\s\":]+)\"?:.*[Ee]xec format error",
        "{0} in the image is for another CPU architecture than the node's; use an image for this machine",
    ),
    _Words(  # execvp(3) has a shell read what the kernel refuses
        r"^(/\S*): 1: Syntax error: ",
        "{0} in the image is not a program for the node's CPU architecture; use an image for this machine",
    ),
    _Words(
        r"(?:exec|FATAL): +\"([^\"]+)\": (?:stat .*no such file|executable file not found)",
        f"no {{0}} in the image; {_OTHER_PYTHON}",
    ),
    _Words(r"can't execve\(2\): (\S+): No such file", f"no {{0}} in the image; {_OTHER_PYTHON}"),
    _Words(r"error: execve\(\): (\S+): No such file", f"{{0}} was not found on the node; {_OTHER_PYTHON}"),
    _Words(r"(?:^|: )(\S*python\S*): (?:command )?not found$", f"no {{0}} there; {_OTHER_PYTHON}"),
    _Words(r"^env: \W?(\S*python[\w.]*)\W?: No such file", f"no {{0}} there; {_OTHER_PYTHON}"),
)
_OTHERS: Sequence[_Words] = (
    _Words(r"^ch-run\[\d+\]: error: (.*?)(?: \(\w+\.c:.*)?$", "ch-run: {0}"),
    _Words(r"^FATAL: +(.*)", "{0}"),
    _Words(r"\[ERROR\] (.*)", "{0}"),
    _Words(r"^Error: (.*)", "{0}"),
)
"""Complaints whose meaning is not known."""


def image_failure(log: str) -> str:
    """Why the image of a job cannot run, as far as its log has words that are known; else empty."""
    return _found(_FAILURES, log)


def complaint(log: str) -> str:
    """What an engine complains of, in its own words; empty where it does not."""
    return _found(_OTHERS, log)


def _found(known: Sequence[_Words], log: str) -> str:
    for words in known:
        if match := re.search(words.pattern, log, re.MULTILINE):
            return words.meaning.format(*match.groups(default=""))
    return ""
