"""Which folders of the host a container sees."""

from bertjob.launch.engines import Bind
from bertjob.launch.paths import Need, needs
from bertjob.launch.words import Word, parse
from bertjob.spec.job import Job
from bertjob.spec.site import Site


def binds(job: Job, site: Site, runs: Word) -> tuple[Bind, ...]:
    """The site's mounts, then the folders that the job needs and no mount before holds, at the same paths inside.

    Args:
        job: the resolved job.
        site: where it runs.
        runs: the folder of the run directories.
    """
    found = [Bind(parse(mount.source), parse(mount.target or mount.source), mount.readonly) for mount in site.mounts]
    wanted = [Need("run directory", runs, runs, written=True), *needs(job)]
    for need in sorted(wanted, key=lambda need: str(need.folder)):  # so a parent comes before its children
        if not any(_holds(bind, need) for bind in found):
            found.append(Bind(need.folder, need.folder))
    return tuple(found)


def _holds(bind: Bind, need: Need) -> bool:
    """Whether the folder is there at its own path through this bind, and may be written to if it must be."""
    source, folder = str(bind.source), str(need.folder)
    below = folder == source or folder.startswith(source.rstrip("/") + "/")
    return below and source == str(bind.target) and not (need.written and bind.readonly)
