"""Which engines `make acceptance` tries here, with which image, and what it says of the others."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from bertjob.cluster.host import programs
from bertjob.config.load import dump, load_site
from bertjob.config.site import Site
from bertjob.errors import BertjobError
from bertjob.launch.engines import containers

ADAPTER = "sarus-adapter"
"""Sarus' command line, strictly read by tests/fakes/sarus, in front of Podman: for machines without Sarus."""
MADE = ("podman", "charliecloud", ADAPTER)
"""Engines for which an image is made here, of this machine's own programs."""
LOCAL = Site(name="acceptance", scheduler="none", launcher="local")


@dataclass(frozen=True)
class Settings:
    """What ENGINE, IMAGE, SITE and WORK say.

    Attributes:
        named: engines; empty: those that are found.
        image: with bertjob in it; empty: the site's, or one that is made.
        site: where the jobs run.
        work: folder in which the tests make theirs; empty: a temporary one, or under a scheduler this checkout.
    """

    named: tuple[str, ...] = ()
    image: str = ""
    site: Site = LOCAL
    work: str = ""

    @property
    def queues(self) -> bool:
        """Whether every row is a job of a scheduler."""
        return self.site.scheduler != "none"

    @property
    def keys(self) -> dict[str, Any]:
        """The site's keys, with the image."""
        keys: dict[str, Any] = yaml.safe_load(dump(self.site))
        return keys | ({"image": {**keys.get("image", {}), "ref": self.image}} if self.image else {})

    @property
    def has_image(self) -> bool:
        """Whether there is one that need not be made."""
        return bool(self.image or self.site.image.ref)


@dataclass(frozen=True)
class Choice:
    """The engines to try, and what to say before.

    Attributes:
        engines: in their order.
        lines: for people, one fact each.
    """

    engines: tuple[str, ...]
    lines: tuple[str, ...] = field(default=())


def settings() -> Settings:
    """What the environment says.

    Raises:
        pytest.UsageError: there is no such site.
    """
    said = {name: os.environ.get(name, "") for name in ("ENGINE", "IMAGE", "SITE", "WORK")}
    try:
        site = load_site(said["SITE"]).value if said["SITE"] else LOCAL
    except BertjobError as error:
        raise pytest.UsageError(f"SITE: {error}") from None
    named = tuple(said["ENGINE"].replace(",", " ").split())
    if not named and site.engine != "none":
        named = (site.engine,)
    image = str(Path(said["IMAGE"]).absolute()) if Path(said["IMAGE"]).is_file() else said["IMAGE"]
    return Settings(named, image, site, said["WORK"])


def program_of(engine: str) -> str:
    """What must be on PATH for an engine."""
    return containers()[engine].program or f"srun with {containers()[engine].srun_option}"


def choose(asked: Settings, found: dict[str, str] | None = None) -> Choice:
    """The engines to try.

    Args:
        asked: for what.
        found: versions of the engines that are here, by name (default: look).

    Raises:
        pytest.UsageError: an engine is unknown, not here, or there is no image for it.
    """
    if unknown := [name for name in asked.named if name not in (*containers(), ADAPTER)]:
        raise pytest.UsageError(f"ENGINE={unknown[0]}: not a known engine; known are {', '.join(containers())}")
    found = dict(programs.look(asked.site).engines if found is None else found)
    here = f"on PATH: {', '.join(f'{name} ({version})' for name, version in sorted(found.items())) or 'no engine'}"
    absent = [name for name in asked.named if name not in (*found, ADAPTER)]
    if absent and not asked.queues:  # nodes may have more than the host that submits
        raise pytest.UsageError(f"engine {absent[0]}: {program_of(absent[0])} is not here; {here}")
    if asked.image and len(asked.named) != 1:
        raise pytest.UsageError("IMAGE is the image of one engine: add ENGINE=…")
    can_be_made = () if asked.queues else MADE
    engines = asked.named or tuple(name for name in MADE if name in found)
    without = [name for name in engines if not asked.has_image and name not in can_be_made]
    if without:
        raise pytest.UsageError(f"engine {without[0]} needs IMAGE=…, an image with bertjob in it: docs/acceptance.md")
    if not engines:
        raise pytest.UsageError(f"no engine to try: add ENGINE=… IMAGE=…; {here}")
    missing = sorted(name for name, row in containers().items() if row.program and name not in found)
    lines = [here, f"not on PATH: {', '.join(missing)}"]
    if others := sorted(set(found) - set(engines)):
        how = "" if others[0] in can_be_made else " IMAGE=…, an image with bertjob in it"
        lines.append(f"not tried: {', '.join(others)}; try by ENGINE={others[0]}{how}")
    where = f"as jobs of {asked.site.scheduler}" if asked.queues else "on this machine; SITE=… runs them as jobs"
    return Choice(engines, (*lines, f"tried {where}: {', '.join(engines)}"))
