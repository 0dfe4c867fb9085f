"""Verbs on images by an engine's row: the commands, the name of the image for a job, the digest in an output."""

import posixpath
import re

from bertjob.errors import PreflightError
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.types import Command, Order, Verb

_DIGEST = re.compile(r"\b(?:sha256:)?([0-9a-f]{64})\b")


def commands(engine: str, verb: Verb, order: Order) -> tuple[Command, ...]:
    """The commands of a verb.

    Raises:
        PreflightError: the engine has no such verb; says what to do instead.
    """
    action = ENGINES[engine].images.action(verb)
    if isinstance(action, str):
        raise PreflightError(f"engine {engine}: {action}")
    return action(order)


def stand_ins() -> tuple[str, ...]:
    """Engines for the images of a site without one, best first: those that need no daemon."""
    found = [name for name, row in ENGINES.items() if row.images.stands_in]
    return tuple(sorted(found, key=lambda name: ENGINES[name].daemon))


def image_file(engine: str, ref: str) -> str:
    """Name of the file that an image becomes: ``pytorch-24.11-py3.sif``; empty where the engine has a store."""
    suffix = ENGINES[engine].images.suffix
    return re.sub(r"[:@]", "-", posixpath.basename(ref)) + suffix if suffix else ""


def in_job(engine: str, order: Order) -> str:
    """What `image.ref` of a job is, after the order was built, pulled or loaded."""
    if order.file:
        return order.file
    return ENGINES[engine].images.loaded(order.ref) if order.archive and not order.context else order.ref


def find_digest(engine: str, order: Order, output: str) -> str | None:
    """The digest in what the commands of ``digest`` printed: ``sha256:…``."""
    words = ENGINES[engine].images.digest_row(order)
    for line in output.splitlines():
        if line.split()[: len(words)] == list(words) and (match := _DIGEST.search(line)):
            return f"sha256:{match[1]}"
    return None
