"""The user's home folder, also where there is none: containers give a number to a user whom no passwd file knows."""

import os
import pwd
import stat
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from bertjob.errors import SpecError

_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")
"""Variables that Python's getpass.getuser reads before it asks passwd."""


def home() -> Path:
    """The home folder; the working directory of a user who has none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path.cwd()


def expand(path: str) -> Path:
    """A path as a person writes it, whose ``~`` is the home folder.

    Raises:
        SpecError: ``~NAME`` names nobody.
    """
    if path == "~" or path.startswith("~/"):
        return home() / path[2:]
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise SpecError(f"{path}: there is no user {path.partition('/')[0][1:]!r} here: write the whole path") from None


def give_home(environment: MutableMapping[str, str]) -> None:
    """Give libraries a home folder and a user's name where there are none: they ask for both when they are imported.

    The folder is this user's own, on this machine; its name is known beforehand, so it is taken only if nobody else
    has made it.
    """
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        entry = None
    if entry is None and not any(environment.get(name) for name in _NAMES):
        environment["LOGNAME"] = str(os.getuid())
    if entry is None and not environment.get("HOME"):
        environment["HOME"] = str(_own_folder())


def _own_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"bertjob-home-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="bertjob-home-"))
