"""A program in an image, outside of any job: what the engine's command is then."""

import contextlib
import os
import posixpath
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bertjob.cluster.guard import removed_if_killed
from bertjob.cluster.host import programs
from bertjob.config.home import home
from bertjob.config.registry.launcher_programs import SRUN
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.launch.argv import Text, Word, parse
from bertjob.launch.container import HOST_NAMES
from bertjob.launch.engines import ENGINES, Bind, Container
from bertjob.launch.engines.types import SOFTWARE, Command

Starter = Callable[[Sequence[str]], Command]
"""From a program to the command that starts it in the image."""


@contextlib.contextmanager
def starter(engine: str, ref: str, site: Site, binds: Sequence[Bind] = (), gpus: int = 0) -> Iterator[Starter]:
    """How to start programs in an image, with the site's mounts; valid while the context is open.

    The caller keeps what the engine `inherits` out of the environment.

    Args:
        engine: name of the engine.
        ref: the image.
        site: where.
        binds: more folders of the host.
        gpus: GPUs to ask the engine for.

    Raises:
        PreflightError: there is no such file, or a path names a variable that is not set here.
    """
    row = ENGINES[engine]
    if ref.startswith("/") and not Path(ref).exists():
        raise PreflightError(f"image {ref}: there is no such file or folder")
    mounts = dict.fromkeys(
        Bind(expanded(mount.source, site), expanded(mount.target or mount.source, site), mount.readonly)
        for mount in site.mounts
    )
    more = [bind for bind in binds if not any(_holds(mount, bind) for mount in mounts)]
    # Below the home, because srun's nodes must see it, too.
    parent = home() if row.file else None
    with tempfile.TemporaryDirectory(prefix=".bertjob-", dir=parent) as folder, removed_if_killed(folder):
        names = Path(folder, HOST_NAMES) if row.by_names else None
        if names is not None:
            known, _ = programs.loaded(site)
            names.write_text("".join(f"{name}\n" for name in known if name not in SOFTWARE), encoding="utf-8")
        told = Container(
            image=parse(ref),
            binds=(*mounts, *more),
            workdir="/",
            folder=folder,
            gpus=gpus,
            gpu_vendor=site.gpu_vendor,
            args=(*row.images.here_only, *site.engine_args),
            annotations=site.annotations if row.limits.annotations else {},
            host_names=None if names is None else str(names),
        )
        if row.file is not None:
            Path(folder, row.file.name).write_text(row.file.text(told), encoding="utf-8")
        srun = (SRUN.name, "--nodes=1", "--ntasks=1") if row.started_by_srun else ()
        before = tuple(_literal(word, site) for word in (*srun, *row.command(told)))
        yield lambda program: (*before, *program)


def expanded(path: str, site: Site) -> str:
    """A path with the values of the variables that it names, without a slash at its end.

    Raises:
        PreflightError: one is not set here.
    """
    return posixpath.normpath(_literal(parse(path), site))


def overlay_folder(path: str, site: Site) -> str:
    """The folder of an overlay, which may name variables.

    Raises:
        PreflightError: the path is relative, or names a variable that is not set here.
    """
    folder = expanded(path, site)
    if not folder.startswith("/"):
        raise PreflightError(f"overlay {path}: an absolute path on a file system that all nodes see is wanted")
    return folder


def _holds(mount: Bind, bind: Bind) -> bool:
    """Whether the container sees the folder at its own path anyway."""
    own = bind.source == bind.target and mount.source == mount.target
    below = Path(str(bind.source)).is_relative_to(str(mount.source))
    return own and below and (bind.readonly or not mount.readonly)


def _literal(word: Word, site: Site) -> str:
    if not isinstance(word, Text):
        return word
    variables = {**os.environ, "UID": str(os.getuid()), "GID": str(os.getgid())}  # the last two as bash has them
    if unset := [name for name in word.references if name not in variables]:
        raise PreflightError(f"site {site.name}: {word}: ${unset[0]} is not set here")
    return word.replaced(variables)
