"""Shards are checked once per run and node, while the training is at work.

Those that bertjob has prepared are compared with the checksums of their manifest. HDF5 files of others have no
manifest: they are read through, which finds what cannot be read and, where they are compressed, what was changed.
"""

import contextlib
import functools
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.errors import DataError
from bertjob.formats.checksums import checksum, checksum_of
from bertjob.formats.corpus_manifest import MANIFEST, shards_in
from bertjob.formats.corpus_splits import TRAIN, VALIDATION
from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import World
from bertjob.train.corpus.statistics import check
from bertjob.train.tasks.pretraining.external.hdf5 import read_through

_NICE = 10
"""Other threads come first: the comparison is in no hurry."""


def verify_shards(job: Job, run_dir: RunDir, world: World, depart: Callable[[str], object]) -> threading.Thread | None:
    """Begin to check the shards of a job, on one rank of each node; None where there is nothing to check.

    Args:
        job: names the folder; numpy and Arrow files of others have no checksums.
        run_dir: keeps a note that a node has seen them whole, for later starts of the run.
        world: this rank's place.
        depart: is called with one line about a shard that is damaged.
    """
    if job.data.shards is None or world.local_rank != 0:
        return None
    folder, note = expand(job.data.shards), run_dir.verified(socket.gethostname())
    if (folder / MANIFEST).is_file():
        content, compare = checksum(folder / MANIFEST).sha256, functools.partial(check, folder)
    elif files := [file for part in (folder, folder / TRAIN, folder / VALIDATION) for file in shards_in(part)]:
        content, compare = _listed(files), functools.partial(_read_all, files)
    else:
        return None
    if _read(note) == content:
        return None
    thread = threading.Thread(target=_compare, args=(compare, note, content, depart), name="shards", daemon=True)
    thread.start()
    return thread


def _listed(files: Iterable[Path]) -> str:
    """A text that changes when one of the files is written again, or removed."""
    text = ""
    for file in files:
        with contextlib.suppress(OSError):  # reading it names it
            status = file.stat()
            text += f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0"
    return checksum_of(text.encode(errors="surrogateescape")).sha256


def _read_all(files: Iterable[Path]) -> None:
    for file in files:
        read_through(file)


def _compare(compare: Callable[[], object], note: Path, content: str, depart: Callable[[str], object]) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # of one thread (man 2 setpriority, NOTES)
    try:
        compare()
    except DataError as error:
        depart(str(error))
        return
    with contextlib.suppress(OSError):  # then the next start compares again
        atomic.write_bytes(note, content.encode())


def _read(note: Path) -> str:
    try:
        return note.read_text()
    except OSError:
        return ""
