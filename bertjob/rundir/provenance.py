"""provenance.json: who made a run, where, and with which code.

The login node writes it; where nobody has, as in a run that was started by hand, the training does, which knows
nothing of git.
"""

import getpass
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bertjob.config.secret_values import masked_text
from bertjob.rundir.atomic import json_bytes
from bertjob.rundir.image_contents import ImageFacts
from bertjob.version import __version__


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
    """The command line, quoted for a shell, with stars in place of secrets."""
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
    cluster: str = ""
    """The cluster whose scheduler has the job, as it calls itself; empty without a scheduler."""
    image_digest: str | None = None
    """Its content digest, ``sha256:…``; null where the engine could not tell."""
    image_facts: ImageFacts | None = None
    """What `bertjob image check` saw in it; null where nobody has looked since it changed."""
    git: Repository | None = None
    """The checkout that `directory` lies in."""
    bertjob_git: Repository | None = None
    """The checkout that bertjob itself runs from."""


def collect(job: str, site: str, image: str | None, command: Sequence[str]) -> Provenance:
    """What any process can tell, here and now.

    Args:
        job: name of the job.
        site: name of the site; empty where it is not known.
        image: the container image, None without a container.
        command: the command line.
    """
    return Provenance(
        bertjob=__version__,
        command=shlex.join(map(masked_text, command)),
        user=_user(),
        host=socket.gethostname(),
        time=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        directory=str(Path.cwd()),
        python=f"{platform.python_version()} {sys.executable}",
        job=job,
        site=site,
        image=image,
        cluster=os.environ.get("SLURM_CLUSTER_NAME", ""),  # of the job in which this is called; submit knows its own
    )


def encode(origin: Provenance) -> bytes:
    """The bytes of provenance.json."""
    return json_bytes(origin, indent=2)


def read_provenance(path: Path) -> Provenance | None:
    """The content of provenance.json, or None where there is none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance)
    except (OSError, msgspec.MsgspecError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return str(os.getuid())
