"""A virtual environment on the shared file system, made inside an image: what an image that is not ours lacks."""

import posixpath
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bertjob.cluster.images import build
from bertjob.cluster.images.exec import overlay_folder, starter
from bertjob.config.site import Site
from bertjob.launch.engines import Bind
from bertjob.launch.engines.images import Command


@contextmanager
def overlay_commands(
    engine: str,
    ref: str,
    path: str,
    site: Site,
    packages: Sequence[str] = (),
    wheels: Path | None = None,
    *,
    printed: bool = False,
) -> Iterator[tuple[Command, ...]]:
    """The commands that make an overlay: an environment that sees the image's packages, then bertjob's, then more.

    They can be run while the context is open, since bertjob's sources may be in a folder that goes with it.

    Args:
        engine: name of the engine.
        ref: the image that it is made in, and is for.
        path: folder of the environment; may name variables.
        site: whose mounts are taken.
        packages: more words for pip, e.g. names of packages.
        wheels: a folder of wheels that stands in for all indices.
        printed: nobody runs the commands now.

    Raises:
        PreflightError: the path is relative, or names a variable that is not set here.
    """
    folder = overlay_folder(path, site)
    above = posixpath.dirname(folder)
    offline = ("--no-index", f"--find-links=/context/{build.WHEELS}") if wheels else ()
    with build.context(wheels, printed=printed) as sources:
        binds = (Bind(above, above), Bind(str(sources), "/context", readonly=True))
        with starter(engine, ref, site, binds) as inside:
            pip = ("python3", "-m", "pip", "--python", f"{folder}/bin/python", "install")
            locks = (f"--requirement=/context/container/requirements.{part}lock" for part in ("build.", ""))
            yield (
                # The image's pip works on the environment: not every image has what a new one is made from.
                inside(("python3", "-m", "venv", "--system-site-packages", "--without-pip", folder)),
                # Without dependencies: pip takes NGC's torch for older than it is, and would bring another one.
                inside((*pip, "--no-deps", "--no-build-isolation", *offline, *locks)),
                inside((*pip, "--no-deps", "--no-build-isolation", *offline, "/context")),
                *((inside((*pip, *offline, *packages)),) if packages else ()),
            )
