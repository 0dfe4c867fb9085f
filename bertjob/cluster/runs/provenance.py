"""What the login node says in provenance.json and git.diff: enough to know years later what was trained."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from bertjob.rundir import atomic, provenance
from bertjob.rundir.provenance import Provenance, Repository

_GIT_TIMEOUT_S = 10


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
    return replace(
        provenance.collect(job, site, image, sys.argv if command is None else command),
        image_digest=image_digest,
        git=repository(Path.cwd()),
        bertjob_git=repository(Path(__file__).parents[2], own="bertjob/__init__.py"),
    )


def add_cluster(path: Path, cluster: str) -> None:
    """Say in provenance.json which cluster has taken the job; a disk that has no room costs that."""
    origin = provenance.read_provenance(path)
    if origin is not None:
        with contextlib.suppress(OSError):
            atomic.write_bytes(path, provenance.encode(replace(origin, cluster=cluster)))


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
