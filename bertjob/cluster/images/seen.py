"""What images held when they were last looked into, so that a job can tell whether it runs in the same software.

One small file in the user's state directory. Like the index it need not be right: without it, training compares less.
"""

import logging
from pathlib import Path

import msgspec
from msgspec.structs import replace

from bertjob.cluster.runs.index import state_folder
from bertjob.config.job import Image
from bertjob.config.site import Site
from bertjob.errors import DataError
from bertjob.formats.checksums import checksum
from bertjob.launch.plan import Plan
from bertjob.rundir import atomic
from bertjob.rundir.image_contents import ImageFacts
from bertjob.text import reason

_log = logging.getLogger(__name__)
_KEPT = 100
_ARCHIVES = "archives.json"


class Seen(msgspec.Struct, frozen=True):
    """An image that was looked into.

    Attributes:
        engine: by which it was started.
        image: its name.
        overlay: the overlay whose Python was used; None without one.
        python: the Python that the site names; None: the image's own.
        digest: of the image; None where the engine tells none.
        facts: what it held.
    """

    engine: str
    image: str
    overlay: str | None
    python: str | None
    digest: str | None
    facts: ImageFacts

    def is_about(self, other: "Seen") -> bool:
        """Whether both are of the same image, whatever it held."""
        return replace(self, facts=other.facts, digest=other.digest) == other


def remember(engine: str, image: Image, site: Site, digest: str | None, facts: ImageFacts) -> None:
    """Keep what an image held; where nothing can be written, there is one warning."""
    assert image.ref is not None
    seen = Seen(engine, image.ref, image.overlay, site.python, digest, facts)
    others = [one for one in _read() if not one.is_about(seen)]
    path = state_folder() / "images.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, [*others, seen][-_KEPT:])
    except OSError as error:
        _log.warning("%s: what the image holds cannot be kept: %s", path, reason(error))


def recall(plan: Plan, digest: str | None) -> ImageFacts | None:
    """What the image of a plan held; None where nobody has looked, or it is another one by now.

    Args:
        plan: whose image it is.
        digest: of the image, as it is now.
    """
    for one in _read():
        same = (one.engine, one.image, one.overlay, one.python, one.digest)
        if same == (plan.engine, plan.image, plan.job.image.overlay, plan.site.python, digest):
            return one.facts
    return None


def remember_archive(engine: str, image: str, archive: Path) -> str:
    """Keep the digest of the archive that an image was loaded from, for engines that tell none; gives it.

    Args:
        engine: which has loaded it.
        image: its name in jobs.
        archive: the archive.

    Raises:
        DataError: the archive cannot be read.
    """
    try:
        digest = f"sha256:{checksum(archive).sha256}"
    except OSError as error:
        raise DataError(f"{archive}: cannot be read: {reason(error)}") from None
    path = state_folder() / _ARCHIVES
    kept = {**_archives(), f"{engine} {image}": digest}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_json(path, dict(list(kept.items())[-_KEPT:]))
    except OSError as error:
        _log.warning("%s: the digest of the archive cannot be kept: %s", path, reason(error))
    return digest


def digest_of_archive(engine: str, image: str) -> str | None:
    """The digest of the archive that an image was loaded from, where that is known."""
    return _archives().get(f"{engine} {image}")


def _archives() -> dict[str, str]:
    try:
        return msgspec.json.decode((state_folder() / _ARCHIVES).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError):
        return {}


def _read() -> list[Seen]:
    try:
        return msgspec.json.decode((state_folder() / "images.json").read_bytes(), type=list[Seen])
    except (OSError, msgspec.MsgspecError):
        return []
