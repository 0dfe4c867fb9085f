"""The environment of the ranks: what the script exports, and which names are the launcher's own."""

import re
from collections.abc import Iterable

from bertjob.config.job import Family, Job
from bertjob.config.registry.launchers import TORCH, family_of
from bertjob.config.site import Site
from bertjob.launch.argv import Word, parse
from bertjob.rundir.world import FAST_FABRIC, FORMER_LEASE, JOB_ID, PLANNED_WORLD, RESTART

MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT")
"""Where the ranks meet; torch.distributed's names."""
RANK = tuple(filter(None, (TORCH.rank, TORCH.local_rank, TORCH.size, TORCH.local_size)))
"""What tells a rank its place; torchrun's names."""
OWN = (*MEETING_POINT, PLANNED_WORLD, JOB_ID, RESTART, FORMER_LEASE)
"""Variables that the script makes for the ranks."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def exports(job: Job, site: Site, threads: Word) -> dict[str, Word]:
    """Variables in the order in which they are exported; the job's win over the fabric's, those over the site's.

    Args:
        job: the resolved job.
        site: where it runs.
        threads: CPU cores a rank, for OpenMP.
    """
    of_site = {name: parse(text) for name, text in site.env.items()}
    of_fabric = fabric(job, site)
    of_source = _source_first(job)
    values = {"OMP_NUM_THREADS": threads} | _interface(site) | of_site | of_fabric | job.env | of_source
    order = ("OMP_NUM_THREADS", *site.env, *_interface(site), *of_fabric, *job.env, *of_source)
    return {name: values[name] for name in dict.fromkeys(order)}


def _source_first(job: Job) -> dict[str, Word]:
    """The checkout before all that Python would find; the host's own PYTHONPATH means nothing inside."""
    if job.image.source is None or job.engine == "none":
        return {}
    return {"PYTHONPATH": ":".join(filter(None, (job.image.source, job.env.get("PYTHONPATH"))))}


def fabric(job: Job, site: Site) -> dict[str, Word]:
    """What the site and the preset of its fabric say of the network between the nodes."""
    network = site.fabric
    name = network.preset or f"the fabric of {site.name}"
    of_mpi = network.mpi_env.get(family(job, site) or "", {})
    said = {key: parse(text) for key, text in (of_mpi | network.env).items() if text is not None}
    return {FAST_FABRIC: name, **said} if network.fast else said


def family(job: Job, site: Site) -> Family | None:
    """Whose MPI starts the ranks or is in them; None where MPI has no part."""
    if own := family_of(job.launcher):
        return own
    if not job.mpi:
        return None
    return site.mpi.family if job.engine == "none" else job.image.mpi.family


def _interface(site: Site) -> dict[str, Word]:
    network = site.fabric.interface
    return {"NCCL_SOCKET_IFNAME": network, "GLOO_SOCKET_IFNAME": network} if network else {}


def problems(key: str, variables: Iterable[str]) -> list[str]:
    """What is wrong with the names of a section of variables."""
    no_names = [f"{key}: {name!r} is no name of a variable" for name in variables if not _NAME.fullmatch(name)]
    reserved = [f"{key}: {name} is set by bertjob" for name in variables if name in (*OWN, *RANK, FAST_FABRIC)]
    return no_names + reserved
