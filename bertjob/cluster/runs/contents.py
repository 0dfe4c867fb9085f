"""What in a run directory bertjob has written: the only files that `clean` may remove.

It goes by names: those of rundir.directory, of what launchers and engines read, of models as transformers 4.40 to 5.5
writes them, and in a checkpoint by its own manifest. All else is somebody's: notes, dotfiles, a checkpoint that was
renamed to be kept, a file that a library has left.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bertjob.formats.checksums import MANIFEST
from bertjob.formats.pretrained import FURTHER
from bertjob.launch.engines import ENGINES
from bertjob.launch.launchers import FILES
from bertjob.rundir.directory import RunDir, checkpoint_step
from bertjob.rundir.lease import TURN

_ASIDE = re.compile(r"\.(.+?)(?:\.[0-9a-f]{8})?\.partial")
"""What rundir.atomic, and a checkpoint that is being written, are called."""
_FOLDERS = frozenset({"logs", "tb", "checkpoints", "model"})
_OF_SCHEDULER = re.compile(r"\d+(?:\.\d+)?\.out")
"""Logs of a job that a scheduler has started."""
_JOB = r"(?:\d+|local)"
_FILES = re.compile(
    rf"logs/{_JOB}(?:\.\d+)?\.(?:out|nccl|departure)|logs/{_JOB}\.exit|logs/{_JOB}\.cancel|logs/start\.(?:nodes|\d+\.out)"
    rf"|logs/\.reserve|logs/\.secret-\w+|logs/[\w.-]+\.shards"
    rf"|tb/events\.out\.tfevents\.[\w.-]+|checkpoints/latest"
    rf"|model/(?:config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab)\.json"
    rf"|model/(?:model(?:-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json|vocab\.txt|merges\.txt"
    rf"|{re.escape(FURTHER)})"
)


def top() -> frozenset[str]:
    """Names of files directly in a run directory."""
    engines = (row.file.name for row in ENGINES.values() if row.file is not None)
    return frozenset({*RunDir.entries(), *FILES, *engines, ".seen-by-all", TURN}) - _FOLDERS


def parted(path: Path) -> tuple[list[Path], list[str]]:
    """What is in a run directory: bertjob's own files and folders, each behind what is in it, and the names of others.

    Args:
        path: the run directory, which is none of them itself.

    Raises:
        OSError: a folder cannot be read.
    """
    own: list[Path] = []
    others: list[str] = []
    for entry, is_own in _walk(path, "", top()):
        if is_own:
            own.append(entry)
        else:
            others.append(entry.relative_to(path).as_posix())
    return own, others


def remove(run_dir: RunDir) -> None:
    """Remove what is bertjob's, and the folder if it is empty then.

    Raises:
        OSError: something cannot be removed, or the folder holds other things.
    """
    own, _ = parted(run_dir.path)
    last = [run_dir.job, run_dir.submissions]  # by which it is found, should this be interrupted
    for path in sorted(own, key=lambda path: path in last):
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    run_dir.path.rmdir()


def remove_unstarted(run_dir: RunDir) -> None:
    """Remove a run directory that came to nothing; one with files of others, or in which a job has been, stays.

    Raises:
        OSError: something cannot be read or removed.
    """
    own, others = parted(run_dir.path)
    trained = any(path in (run_dir.checkpoints, run_dir.model, run_dir.metrics) for path in own)
    if not others and not trained and not any(_OF_SCHEDULER.fullmatch(path.name) for path in own):
        remove(run_dir)


def _walk(folder: Path, place: str, names: frozenset[str]) -> Iterator[tuple[Path, bool]]:
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path, inside = folder / entry.name, f"{place}{entry.name}"
        is_folder = entry.is_dir(follow_symlinks=False)
        if _is_aside(place, entry.name, names):
            yield from ((each, True) for each in _all(path))
        elif is_folder and _is_folder(inside):
            of_checkpoint = checkpoint_step(entry.name) is not None and place == "checkpoints/"
            yield from _checkpoint(path) if of_checkpoint else _walk(path, f"{inside}/", frozenset())
            yield path, True
        else:
            yield path, not is_folder and (inside in names or _FILES.fullmatch(inside) is not None)


def _is_folder(inside: str) -> bool:
    before, _, name = inside.rpartition("/")
    return inside in _FOLDERS or (before == "checkpoints" and checkpoint_step(name) is not None)


def _is_aside(place: str, name: str, names: frozenset[str]) -> bool:
    """Whether it is what a process that was killed was writing, in the place of a file or folder of bertjob's."""
    if (found := _ASIDE.fullmatch(name)) is None:
        return False
    inside = f"{place}{found[1]}"
    return inside in names or _is_folder(inside) or _FILES.fullmatch(inside) is not None


def _checkpoint(folder: Path) -> Iterator[tuple[Path, bool]]:
    """What is in a checkpoint, by its manifest; without one that can be read, nothing is ours."""
    try:
        names = {MANIFEST, *msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, object])}
    except (OSError, msgspec.MsgspecError):
        names = set()
    folders = {parent.as_posix() for name in names for parent in Path(name).parents}
    for each in _all(folder):
        inside = each.relative_to(folder).as_posix()
        if each != folder:
            yield each, inside in (folders if each.is_dir() and not each.is_symlink() else names)


def _all(path: Path) -> Iterator[Path]:
    """The file, or the folder behind all that is in it; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        for each in sorted(path.iterdir()):
            yield from _all(each)
    yield path
