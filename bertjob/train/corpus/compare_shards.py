"""Shards are compared with the checksums of their manifest: once per run and node, while the training is at work."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.errors import DataError
from bertjob.formats.checksums import checksum
from bertjob.formats.corpus_manifest import MANIFEST
from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import World
from bertjob.train.corpus.statistics import check

_NICE = 10
"""Other threads come first: the comparison is in no hurry."""


def verify_shards(job: Job, run_dir: RunDir, world: World, depart: Callable[[str], object]) -> threading.Thread | None:
    """Begin to compare the shards of a job, on one rank of each node; None where there is nothing to compare.

    Args:
        job: names the folder; data in the formats of others has no checksums.
        run_dir: keeps a note that a node has seen them whole, for later starts of the run.
        world: this rank's place.
        depart: is called with one line about a shard that is damaged.
    """
    if job.data.shards is None or world.local_rank != 0:
        return None
    folder, note = expand(job.data.shards), run_dir.verified(socket.gethostname())
    if not (folder / MANIFEST).is_file():
        return None
    expected = checksum(folder / MANIFEST).sha256
    if _read(note) == expected:
        return None
    thread = threading.Thread(target=_compare, args=(folder, note, expected, depart), name="shards", daemon=True)
    thread.start()
    return thread


def _compare(folder: Path, note: Path, expected: str, depart: Callable[[str], object]) -> None:
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)  # of one thread (man 2 setpriority, NOTES)
    try:
        check(folder)
    except DataError as error:
        depart(str(error))
        return
    with contextlib.suppress(OSError):  # then the next start compares again
        atomic.write_bytes(note, expected.encode())


def _read(note: Path) -> str:
    try:
        return note.read_text()
    except OSError:
        return ""
