"""An ordinary user for tests that run as root: `unshare --mount … ordinary_user.py UID HOME FOLDER… -- COMMAND…`.

The user sees each FOLDER even where a folder above it is closed to others, as /root is: in the mount namespace of the
command alone, so that nothing of it is left on the machine.
"""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NoReturn

_FIRST = 23456
_OTHERS_MAY_ENTER = 0o001
_QUEUES = Path("/dev/mqueue")


def free_uids() -> Iterator[int]:
    """Numbers that belong to nobody."""
    for number in count(_FIRST):
        try:
            pwd.getpwuid(number)
        except KeyError:
            yield number


def words(uid: int, home: Path, shown: list[Path]) -> tuple[str, ...]:
    """What stands before a command that the user runs.

    Args:
        uid: the user.
        home: the user's home.
        shown: folders that the command needs.
    """
    own = ("unshare", "--mount", "--propagation=private", sys.executable, __file__)
    return (*own, str(uid), str(home), *map(str, shown), "--")


def main(uid: int, home: Path, shown: list[Path], command: list[str]) -> NoReturn:
    """Become the user and run the command."""
    keep = home / "keep"
    keep.mkdir(exist_ok=True)
    for closed in sorted({top for folder in shown if (top := _closed(folder))}):
        _open(closed, [folder for folder in shown if folder.is_relative_to(closed)], keep)
    if not _QUEUES.exists():
        _make_queues(keep)
    runtime = home / "runtime"
    runtime.mkdir(mode=0o700, exist_ok=True)
    for own in (home, runtime):
        os.chown(own, uid, uid)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(home), "USER": str(uid), "LOGNAME": str(uid), "XDG_RUNTIME_DIR": str(runtime)}
    os.execvpe(command[0], command, environment)


def _closed(folder: Path) -> Path | None:
    """The highest folder above, which others may not enter."""
    above = [*reversed(folder.parents)]
    return next((one for one in above if not one.stat().st_mode & _OTHERS_MAY_ENTER), None)


def _open(closed: Path, shown: list[Path], keep: Path) -> None:
    """Put another folder in place of a closed one, with only those in it that are to be seen."""
    places = [keep / str(number) for number in range(len(shown))]
    for folder, place in zip(shown, places, strict=True):
        place.mkdir(exist_ok=True)
        _mount("--rbind", folder, place)
    _mount("-t", "tmpfs", "-o", "mode=755", "none", closed)
    for folder, place in zip(shown, places, strict=True):
        folder.mkdir(parents=True, exist_ok=True)
        _mount("--move", place, folder)
        place.rmdir()


def _make_queues(keep: Path) -> None:
    """Podman without root shows the host's IPC by /dev/mqueue, which small machines lack; a /dev that has it."""
    _mount("-t", "tmpfs", "-o", "mode=755", "none", keep)
    for path in Path("/dev").iterdir():
        place = keep / path.name
        if path.is_symlink():
            place.symlink_to(path.readlink())
            continue
        if path.is_dir():
            place.mkdir()
        else:
            place.touch()
        _mount("--rbind", path, place)
    (keep / _QUEUES.name).mkdir()
    _mount("-t", "mqueue", "none", keep / _QUEUES.name)
    _mount("--rbind", keep, "/dev")


def _mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


if __name__ == "__main__":
    cut = sys.argv.index("--")
    main(int(sys.argv[1]), Path(sys.argv[2]), [*map(Path, sys.argv[3:cut])], sys.argv[cut + 1 :])
