"""Who made a run, where, and with which code: enough to say years later what was trained."""

import getpass
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bertjob.rundir.atomic import json_bytes
from bertjob.version import __version__

_GIT_TIMEOUT_S = 10


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A git checkout as it was."""

    path: str
    """Its top folder."""
    commit: str
    """Empty before the first commit."""
    branch: str
    """Empty when no branch is checked out."""
    dirty: bool
    """Files differ from the commit; for the working directory, git.diff says how."""


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """The content of provenance.json."""

    bertjob: str
    """Version."""
    command: str
    """The command line, quoted for a shell."""
    user: str
    host: str
    time: str
    """Local time with its offset from UTC."""
    directory: str
    """Where the command was given."""
    python: str
    """Version and path of the Python that ran it."""
    job: str
    site: str
    image: str | None
    """The container image, or null without a container."""
    image_digest: str | None = None
    """Its content digest, ``sha256:…``; null where the engine could not tell."""
    git: Repository | None
    """The checkout that `directory` lies in."""
    bertjob_git: Repository | None
    """The checkout that bertjob itself runs from."""


def collect(
    job: str, site: str, image: str | None, command: Sequence[str] | None = None, image_digest: str | None = None
) -> Provenance:
    """What is known here and now.

    Args:
        job: name of the job.
        site: name of the site.
        image: the container image, None without a container.
        command: the command line, by default this process's own.
        image_digest: the image's content digest, where it is known.
    """
    return Provenance(
        bertjob=__version__,
        command=shlex.join(sys.argv if command is None else command),
        user=_user(),
        host=socket.gethostname(),
        time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        directory=str(Path.cwd()),
        python=f"{platform.python_version()} {sys.executable}",
        job=job,
        site=site,
        image=image,
        image_digest=image_digest,
        git=repository(Path.cwd()),
        bertjob_git=repository(Path(__file__).parents[2], own="bertjob/__init__.py"),
    )


def encode(origin: Provenance) -> bytes:
    """The bytes of provenance.json."""
    return json_bytes(origin, indent=2)


def repository(folder: Path, own: str | None = None) -> Repository | None:
    """The git checkout that `folder` lies in, or None: no git, no repository, or one that git does not trust.

    Args:
        folder: any folder of it.
        own: a file that must be under version control there: an installed package may lie inside of a foreign checkout.
    """
    top = _git(folder, "rev-parse", "--show-toplevel")
    status = _git(folder, "status", "--porcelain=v2", "--branch")
    if top is None or status is None:
        return None
    path = top.decode(errors="replace").rstrip("\n")
    if own is not None and _git(Path(path), "ls-files", "--error-unmatch", own) is None:
        return None
    lines = status.decode(errors="replace").splitlines()
    said = dict(line.removeprefix("# branch.").split(" ", 1) for line in lines if line.startswith("# branch."))
    return Repository(
        path=path,
        commit=said.get("oid", "").removeprefix("(initial)"),
        branch=said.get("head", "").removeprefix("(detached)"),
        dirty=any(not line.startswith("#") for line in lines),
    )


def git_diff(folder: Path) -> bytes:
    """What is not committed in the checkout that `folder` lies in, as ``git apply`` takes it; empty without one."""
    return _git(folder, "diff", "--binary", "HEAD") or b""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return str(os.getuid())


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Git's output, or None when it cannot say."""
    # Optional locks would make other git commands in this checkout fail while ours reads.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
