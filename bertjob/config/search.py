"""Where jobs, sites and presets of fabrics are found: a path, the user's own folder, or those that bertjob brings."""

import os
from pathlib import Path
from typing import Literal

from bertjob.config.home import expand
from bertjob.errors import SpecError
from bertjob.text import did_you_mean, reason

Kind = Literal["job", "site", "fabric"]
_PACKAGE = Path(__file__).resolve().parent.parent
_FOLDERS: dict[Kind, tuple[str, str]] = {
    "job": ("jobs", "jobs"),
    "site": ("sites", "slurm/sites"),
    "fabric": ("fabrics", "slurm/fabrics"),
}


def shipped_folder(kind: Kind) -> Path:
    """The folder of bertjob's own files: inside an installed package, or at the top of a checkout."""
    installed, checkout = _FOLDERS[kind]
    inside = _PACKAGE / "_shipped" / installed
    return inside if inside.is_dir() else _PACKAGE.parent / checkout


def user_folder(kind: Kind) -> Path:
    """The user's own files: ``$XDG_CONFIG_HOME/bertjob/jobs``, ``…/sites`` and ``…/fabrics``."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return expand(config) / "bertjob" / _FOLDERS[kind][0]


def names(kind: Kind) -> dict[str, Path]:
    """All that can be called by name, in its order; a file of the user's stands before bertjob's of that name."""
    found: dict[str, Path] = {}
    for folder in (user_folder(kind), shipped_folder(kind)):
        for path in folder.glob("*.yaml"):
            found.setdefault(path.stem, path)
    return dict(sorted(found.items()))  # by name, not by file: squad before squad-demo


def find(kind: Kind, name: str, beside: Path | None = None) -> Path:
    """The file of a job, site or preset given by path (anything with ``/`` or ``.yaml``) or by name.

    Args:
        kind: job, site or fabric.
        name: what the user said.
        beside: folder that relative paths start from (default: the working directory).

    Raises:
        SpecError: there is no such file or name; names the nearest one.
    """
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = (beside or Path()) / expand(name)
        try:
            if not path.is_file():
                raise SpecError(f"{kind} {name!r}: there is no file {path}")
        except PermissionError:
            raise SpecError(f"{kind} {name!r}: you may not read it") from None
        except OSError as error:  # e.g. a name that is too long
            raise SpecError(f"{kind} {name!r}: {reason(error)}") from None
        return path
    known = names(kind)
    if name not in known:
        for ending in (".yaml", ".yml"):
            if _is_file((beside or Path()) / f"{name}{ending}"):
                raise SpecError(f"there is no {kind} {name!r}: did you mean ./{name}{ending}?")
        if kind == "job" and (links := phases(name)):
            both = " and ".join(links)
            raise SpecError(f"{name!r} is {both}, one after the other: `bertjob submit {name}`, or say one of them")
        raise SpecError(f"there is no {kind} {name!r}: {did_you_mean(name, known)}")
    return known[name]


def phases(name: str) -> list[str]:
    """The jobs that a name stands for which is none itself: those by lengths of samples, the shortest first.

    ``pretrain`` is pretrain-seq128 and pretrain-seq512. A name of another kind stands for none.
    """
    known, start = names("job"), f"{name}-seq"
    if name in known:
        return []
    lengths = {job: job.removeprefix(start) for job in known if job.startswith(start)}
    found = sorted((job for job, length in lengths.items() if length.isdecimal()), key=lambda job: int(lengths[job]))
    return found if len(found) > 1 else []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # e.g. a name that is too long
        return False
