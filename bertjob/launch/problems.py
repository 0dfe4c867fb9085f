"""What stops a job that can be planned: submit refuses it, script and doctor report it."""

import itertools
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from bertjob.config.checks import kernel
from bertjob.config.job import Image, Job
from bertjob.config.registry.tasks import TASKS
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.launch.schedulers import SCHEDULERS

_SHORT_OPTIONS = {"account": "-A", "constraint": "-C", "partition": "-p", "time": "-t"}
"""Of bertjob's verbs, by the resources that a site may require; they are called as Slurm calls them."""
_WITHOUT_BERTJOB = re.compile(
    r"(nvcr\.io[/#]nvidia|(docker\.io[/#])?(pytorch|rocm))/pytorch([:@].*)?|.*/lumi-multitorch[^/]*\.sif"
)
"""Images of others that have torch, and are named by sites and tutorials."""


class Problem(msgspec.Struct, frozen=True):
    """Something that stops a job in any case, known without a machine: submit refuses it, script and doctor report it.

    Attributes:
        what: what is wrong.
        remedy: what to do, or the command to type.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def find_problems(job: Job, site: Site, site_given: str) -> Iterator[Problem]:
    """What stops a job that can be planned.

    Args:
        job: the resolved job.
        site: where it runs.
        site_given: the name or file by which the user names the site, for commands to type.
    """
    yield from unsaid(job, site)
    image = job.image
    if job.engine == "none" or image.overlay or image.source or site.python:
        return
    if _WITHOUT_BERTJOB.fullmatch(image.ref or ""):
        folder = f"{site.mounts[0].source if site.mounts else '$HOME'}/bertjob-env"
        yield Problem(
            f"image.ref: {image.ref}: has no bertjob in it: name an image that `bertjob image build` has made,"
            f" or say image.overlay: {folder}, and make it",
            overlay_command(replace(image, overlay=folder), job.engine, site, site_given),
        )


def unsaid(job: Job, site: Site) -> Iterator[Problem]:
    """What the site wants every job to say, and this one does not."""
    for key in site.needs:
        long, short = f"--{key}", _SHORT_OPTIONS[key]
        asked = job.resources
        if not getattr(asked, key) and not SCHEDULERS[site.scheduler].has_option(asked.sbatch, long, short):
            yield Problem(f"jobs must say their {key} here", f"{short} {key.upper()}, or resources.{key}")


def overlay_command(image: Image, engine: str | None, site: Site, site_given: str) -> str:
    """The command that makes the overlay of an image; see `find_problems` for the site."""
    said = (
        ("--engine", engine, site.engine),
        ("--image", image.ref, site.image.ref),
        ("--path", image.overlay, site.image.overlay),
    )
    options = [word for option, own, of_site in said if own and own != of_site for word in (option, own)]
    return shlex.join(("bertjob", "image", "overlay", "--site", site_given, *options))


def refuse_problems(found: Iterable[Problem], site: Site) -> None:
    """Stop a job that has problems.

    Raises:
        PreflightError: one line with all of them.
    """
    if lines := [str(problem) for problem in found]:
        raise PreflightError(f"site {site.name}: {'; '.join(lines)}")


def refuse_chain(jobs: Sequence[Job]) -> None:
    """Stop a chain of which a job cannot start from the model of the one before it.

    That one makes none, or trains with other layers.

    Raises:
        PreflightError: one line.
    """
    for before, after in itertools.pairwise(jobs):
        if not TASKS[before.task].trains:
            why = f"job {before.name} trains no model to start from: task {before.task} takes no steps"
            raise PreflightError(f"job {after.name}: {why}")
        trained = {kernel.MARK: kernel.mark(before.model.kernel)}
        if wrong := kernel.mismatch(after.model.kernel, trained, f"job {before.name}"):
            raise PreflightError(f"job {after.name}: {wrong}")
