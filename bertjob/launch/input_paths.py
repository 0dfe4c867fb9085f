"""The paths that a job names: what must be there beforehand, and what a container must see."""

import posixpath

import msgspec

from bertjob.config.job import Job
from bertjob.formats.pretrained import folder_of
from bertjob.launch.argv import Word, parse


class Need(msgspec.Struct, frozen=True):
    """A path of a resolved job.

    Attributes:
        key: the job's key that names it.
        path: absolute path; a word with references when only the nodes know it.
        folder: the folder to show to a container: the path itself, or the one that holds the file.
        written: the training writes there, and makes it when it is missing.
        readonly: nobody shall write there from inside of a container.
    """

    key: str
    path: Word
    folder: Word
    written: bool = False
    readonly: bool = False


def needs(job: Job) -> tuple[Need, ...]:
    """All paths of a resolved job but its run directory, in the order of the job's keys."""
    overlay = parse(job.image.overlay) if job.image.overlay and job.engine != "none" else None
    source = job.image.source if job.engine != "none" else None
    files = {"model.vocab": job.model.vocab, "data.train": job.data.train, "data.dev": job.data.dev}
    found = [
        Need("image.overlay", overlay, overlay) if overlay else None,
        Need("image.source", source, source, readonly=True) if source else None,
        Need("model.init", job.model.init, folder_of(job.model.init)) if job.model.init.startswith("/") else None,
        *(Need(key, file, posixpath.dirname(file)) for key, file in files.items() if file and file.startswith("/")),
        Need("data.shards", job.data.shards, job.data.shards) if job.data.shards else None,
        Need("data.cache", job.data.cache, job.data.cache, written=True) if job.data.cache else None,
    ]
    return tuple(need for need in found if need)
