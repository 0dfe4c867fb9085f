"""Which folders of the host a container sees."""

from collections.abc import Callable, Iterable

from bertjob.launch.engines import ENGINES, Bind
from bertjob.launch.paths import Need, needs
from bertjob.launch.words import Word, parse
from bertjob.spec.job import Job
from bertjob.spec.site import Site


def binds(job: Job, site: Site, runs: Word, linked: Callable[[str], Iterable[str]]) -> tuple[Bind, ...]:
    """The site's mounts, then the folders that the job needs and no mount before holds, at the same paths inside.

    Args:
        job: the resolved job.
        site: where it runs.
        runs: the folder of the run directories.
        linked: folders that the symbolic links at and in an absolute path lead to (Here.linked); without them a link
            leads nowhere inside.
    """
    found = [Bind(parse(mount.source), parse(mount.target or mount.source), mount.readonly) for mount in site.mounts]
    own = needs(job)
    behind = [
        Need(need.key, folder, folder) for need in own if isinstance(need.path, str) for folder in linked(need.path)
    ]
    wanted = [Need("run directory", runs, runs, written=True), *own, *behind]
    for need in sorted(wanted, key=lambda need: str(need.folder)):  # so a parent comes before its children
        if not any(_holds(bind, need) for bind in found):
            found.append(Bind(need.folder, need.folder, need.readonly and ENGINES[job.engine or "none"].readonly))
    return tuple(found)


def _holds(bind: Bind, need: Need) -> bool:
    """Whether the folder is there at its own path through this bind, and may be written to if it must be."""
    source, folder = str(bind.source), str(need.folder)
    below = folder == source or folder.startswith(source.rstrip("/") + "/")
    return below and source == str(bind.target) and not (need.written and bind.readonly)
