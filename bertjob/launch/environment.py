"""The environment of the ranks: what the script exports, and which names are the launcher's own."""

import re
from collections.abc import Mapping

from bertjob.launch.words import Word, parse
from bertjob.launch.world import JOB_ID, PLANNED_WORLD
from bertjob.spec.job import Job
from bertjob.spec.site import Site

MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT")
"""Where the ranks meet; torch.distributed's names."""
RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
"""What tells a rank its place; torchrun's names."""
OWN = (*MEETING_POINT, PLANNED_WORLD, JOB_ID)
"""Variables that the script makes for the ranks."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def exports(job: Job, site: Site, threads: Word) -> dict[str, Word]:
    """Variables in the order in which they are exported; the job's win over the fabric's, those over the site's.

    Args:
        job: the resolved job.
        site: where it runs.
        threads: CPU cores a rank, for OpenMP.
    """
    network = site.fabric.interface
    interface = {"NCCL_SOCKET_IFNAME": network, "GLOO_SOCKET_IFNAME": network} if network else {}
    said = {name: parse(text) for name, text in (site.env | site.fabric.env).items()}
    return {"OMP_NUM_THREADS": threads, **interface, **said, **job.env}


def problems(key: str, variables: Mapping[str, str]) -> list[str]:
    """What is wrong with the names of a section of variables."""
    no_names = [f"{key}: {name!r} is no name of a variable" for name in variables if not _NAME.fullmatch(name)]
    reserved = [f"{key}: {name} is set by bertjob" for name in variables if name in (*OWN, *RANK)]
    return no_names + reserved
