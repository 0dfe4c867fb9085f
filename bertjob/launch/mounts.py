"""Which folders of the host a container sees."""

import posixpath
from collections.abc import Callable, Iterable, Mapping

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.argv import Word, parse, value
from bertjob.launch.engines import ENGINES, Bind
from bertjob.launch.input_paths import Need, needs


def binds(
    job: Job,
    site: Site,
    runs: Word,
    linked: Callable[[str], Iterable[str]],
    variables: Mapping[str, str] = {},
) -> tuple[Bind, ...]:
    """The site's mounts, then the folders that the job needs and no mount before holds, at the same paths inside.

    Args:
        job: the resolved job.
        site: where it runs.
        runs: the folder of the run directories.
        linked: folders that the symbolic links at and in an absolute path lead to (Here.linked); without them a link
            leads nowhere inside.
        variables: values of variables that paths name, as far as they are known: engines refuse to mount one folder
            twice, by its path and by a variable.
    """
    mounts = (Bind(parse(mount.source), parse(mount.target or mount.source), mount.readonly) for mount in site.mounts)
    found = list({(_place(bind.source, variables), _place(bind.target, variables)): bind for bind in mounts}.values())
    own = needs(job)
    behind = [
        Need(need.key, folder, folder) for need in own if isinstance(need.path, str) for folder in linked(need.path)
    ]
    wanted = [Need("run directory", runs, runs, written=True), *own, *behind]
    for need in sorted(wanted, key=lambda need: str(need.folder)):  # so a parent comes before its children
        if not any(_holds(bind, need, variables) for bind in found):
            found.append(Bind(need.folder, need.folder, need.readonly and ENGINES[job.engine or "none"].readonly))
    return tuple(found)


def _holds(bind: Bind, need: Need, variables: Mapping[str, str]) -> bool:
    """Whether the folder is there at its own path through this bind, and may be written to if it must be.

    A variable's value may be another one on the nodes. So a folder below the value is mounted as well, which harms
    nowhere; only the very folder cannot be.
    """
    source = _place(bind.source, variables)
    below = str(need.folder).startswith(str(bind.source).rstrip("/") + "/")
    held = below or source == _place(need.folder, variables)
    return held and source == _place(bind.target, variables) and not (need.written and bind.readonly)


def _place(path: Word, variables: Mapping[str, str]) -> str:
    known = value(path, variables)
    return str(path) if known is None else posixpath.normpath(known)
