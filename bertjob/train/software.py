"""The software that this rank runs in, against what the login node knows of it.

An image may be another one on a node, and the host's packages may get before the image's: what computes would then be
something else than what was checked, and nobody would know. The login node writes into provenance.json what it knows.
"""

import importlib.metadata
import sys
from pathlib import Path

from bertjob.config.job import Job
from bertjob.config.load import read_job
from bertjob.errors import SpecError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.image_contents import NEEDED, OPTIONAL, ImageFacts
from bertjob.rundir.provenance import read_provenance
from bertjob.train.distributed.peers import named
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.reporting.report import Report
from bertjob.version import __version__


def read(path: Path) -> Job:
    """The resolved job of a run directory.

    Raises:
        SpecError: it cannot be read; where another bertjob has written it, with both versions.
    """
    try:
        return read_job(path)
    except SpecError as error:
        origin = read_provenance(RunDir(path.parent).provenance)
        if origin is None or origin.bertjob == __version__:
            raise
        raise SpecError(
            f"{error} (bertjob {origin.bertjob} has made this run, and here is bertjob {__version__} in"
            f" {Path(__file__).parents[1]}: bring the image, its overlay or image.source up to date)"
        ) from None


def compare(run_dir: RunDir, job: Job, ranks: Ranks, report: Report) -> None:
    """Warn of software that is not the one that was checked; called by all ranks."""
    said = ranks.gather(differences(run_dir, job), str)
    for line in dict.fromkeys(filter(None, said)):
        those = [rank for rank, own in enumerate(said) if own == line]
        report.warn(f"{named(those)}: {line}", stands=True)


def differences(run_dir: RunDir, job: Job) -> str:
    """In which this rank's software differs from what the login node knows of it; empty where it does not."""
    origin = read_provenance(run_dir.provenance)
    if origin is None:
        return ""
    seen = origin.image_facts
    if seen is None:
        return "" if origin.bertjob == __version__ else f"bertjob is {__version__}, the login node's {origin.bertjob}"
    here = _facts()
    if job.image.source is not None:  # a checkout in place of the image's
        packages = {**here.packages, "bertjob": seen.packages.get("bertjob", "none")}
        here = ImageFacts(python=here.python, prefix=here.prefix, packages=packages)
    found = seen.differences(here)
    return f"not the software that `bertjob image check` saw in {origin.image}: {', '.join(found)}" if found else ""


def _facts() -> ImageFacts:
    packages = {}
    for name in (*NEEDED, *OPTIONAL):
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    packages["bertjob"] = __version__  # of the code that runs, whatever is installed beside it
    return ImageFacts(python=".".join(map(str, sys.version_info[:3])), prefix=sys.prefix, packages=packages)
