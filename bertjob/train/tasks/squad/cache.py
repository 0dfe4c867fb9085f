"""Features made once and mapped into memory by all ranks and later jobs.

An entry is a folder ``squad-<key>`` with one .npy file an array and a manifest of their checksums; the key is made of
all that decides the features. It is written aside and renamed, so it is there whole or not at all, however many
processes make it at the same time. What was damaged later fails its checksum and is made again.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bertjob.errors import DataError
from bertjob.formats.checksums import folder_damage, write_manifest
from bertjob.formats.squad import SquadSet
from bertjob.rundir import atomic
from bertjob.text import reason
from bertjob.train.data.mapped import map_array
from bertjob.train.data.tokenizer import BertTokenizer
from bertjob.train.tasks.squad.features import Features, Settings, make_features

FORMAT: Final = 2
"""Raise it whenever the same input gives other features, or an entry other files."""
_ARRAYS: Final = tuple(field.name for field in fields(Features))


def shared_features(
    data: SquadSet,
    tokenizer: BertTokenizer,
    settings: Settings,
    folder: Path,
    *,
    leader: bool,
    barrier: Callable[[], None],
) -> Features:
    """The features for all ranks of a job, made by one of them where they are not in the cache.

    Args:
        data: the questions.
        tokenizer: makes the tokens.
        settings: lengths.
        folder: the cache; it is made where it is missing, in a folder that is there.
        leader: true on the one rank that makes them while the others wait.
        barrier: returns when all ranks have called it.

    Raises:
        DataError: the cache cannot be written.
    """
    if not leader:
        barrier()  # then they are there, or the cache is not shared with the leader's node and this rank makes its own
    features = cached_features(data, tokenizer, settings, folder)
    if leader:
        barrier()
    return features


def cached_features(data: SquadSet, tokenizer: BertTokenizer, settings: Settings, folder: Path) -> Features:
    """The features from the cache, or made and put there; any number of processes may call this at once.

    Raises:
        DataError: the cache cannot be written.
    """
    entry = folder / f"squad-{_key(data, tokenizer, settings)}"
    features = _open(entry)
    if features is not None:
        return features
    features = make_features(data, tokenizer, settings)
    try:
        folder.mkdir(exist_ok=True)
        _write(features, entry)
    except OSError as error:
        raise DataError(
            f"{folder}: features cannot be cached: {reason(error)}; make room, or say another folder by data.cache"
        ) from None
    return _open(entry) or features


def _key(data: SquadSet, tokenizer: BertTokenizer, settings: Settings) -> str:
    parts = (str(FORMAT), data.sha256, tokenizer.sha256, repr(settings))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _open(entry: Path) -> Features | None:
    """The entry's arrays, mapped read-only; None where there is no entry or not what was written."""
    try:
        if folder_damage(entry):
            return None
        return Features(**{name: map_array(_file(entry, name)) for name in _ARRAYS})
    except (OSError, ValueError):
        return None


def _write(features: Features, entry: Path) -> None:
    with atomic.beside(entry) as aside:
        aside.mkdir()
        for name in _ARRAYS:
            _save(_file(aside, name), getattr(features, name))
        write_manifest(aside)
        _put(aside, entry)


def _save(path: Path, array: NDArray[Any]) -> None:
    """What np.save writes; numpy itself does not say why it could not write."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(np.ascontiguousarray(array).data)


def _put(aside: Path, entry: Path) -> None:
    """Rename `aside` to `entry`, in place of a damaged one, unless a whole one is there."""
    while True:
        try:
            aside.rename(entry)  # fails over a folder that is not empty
            return
        except OSError:
            if not entry.exists():
                raise
        if _open(entry) is not None:
            return
        with atomic.beside(entry) as damaged, suppress(FileNotFoundError):  # another process was faster
            entry.rename(damaged)


def _file(entry: Path, name: str) -> Path:
    return entry / f"{name}.npy"
