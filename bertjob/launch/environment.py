"""The environment of the ranks: what the script exports, and which names belong to others.

`export NAME=value` is more than a value where bash or Slurm own the name: bash evaluates what is assigned to RANDOM as
arithmetic, which runs commands, and the script computes with SLURM_JOB_ID.
"""

import re
from collections.abc import Iterable

from bertjob.config.job import Family, Job
from bertjob.config.registry.launchers import TORCH, family_of, place_variables
from bertjob.config.site import Site
from bertjob.launch.argv import Word, parse, variable
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.rundir.world import FAST_FABRIC, FORMER_LEASE, JOB_ID, NODE_ADDRESS, PLANNED_WORLD, RESTART, SECRET_FILE

MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT")
"""Where the ranks meet; torch.distributed's names."""
RANK = tuple(filter(None, (TORCH.rank, TORCH.local_rank, TORCH.size, TORCH.local_size)))
"""What tells a rank its place; torchrun's names."""
OWN = (*MEETING_POINT, NODE_ADDRESS, PLANNED_WORLD, JOB_ID, RESTART, FORMER_LEASE, SECRET_FILE)
"""Variables that the script makes for the ranks."""

_NO_USER_SITE: dict[str, Word] = {"PYTHONNOUSERSITE": "1"}
"""In a container the home's ~/.local/lib/python3.X, which `pip install --user` fills outside, would come before the
image's packages."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OF_BASH = re.compile(
    "BASH.*|COMP_.*|READLINE_.*|PROMPT_.*|HIST.*|PS[0-4]|_|histchars|"
    "CDPATH|CHILD_MAX|COLUMNS|COMPREPLY|COPROC|DIRSTACK|EMACS|ENV|EPOCHREALTIME|EPOCHSECONDS|EUID|EXECIGNORE|FIGNORE|"
    "FUNCNAME|FUNCNEST|GLOBIGNORE|GLOBSORT|GROUPS|HOSTFILE|HOSTNAME|HOSTTYPE|IFS|IGNOREEOF|INPUTRC|LINENO|LINES|"
    "MACHTYPE|MAILCHECK|MAPFILE|OLDPWD|OPTARG|OPTERR|OPTIND|OSTYPE|PIPESTATUS|POSIXLY_CORRECT|PPID|PWD|RANDOM|REPLY|"
    "SECONDS|SHELLOPTS|SHLVL|SRANDOM|TIMEFORMAT|TMOUT|UID"
)
"""Shell variables of bash 5.3 (its manual, section 5.2) that it sets, or that change how it reads a script; not those
that any program may have, like PATH, HOME, SHELL and LANG."""
_OF_SCRIPT = frozenset(
    [
        "AGENTS_PORT",
        "GID",
        "MASTER_PORT",
        "RUN",
        "RUNS",
        "address",
        "again",
        "before",
        "code",
        "command",
        "ended",
        "ending",
        "ephemeral",
        "epilogue_lines",
        "failed_at",
        "first",
        "former",
        "guard",
        "holder",
        "host",
        "job",
        "launcher",
        "lease",
        "left",
        "limit",
        "mark",
        "name",
        "note",
        "now",
        "port",
        "python",
        "rank",
        "ranks",
        "said",
        "signal",
        "signalled",
        "spared",
        "stands",
        "started",
        "state_before",
        "status",
        "stopping",
        "submitted_in",
        "there",
        "why",
    ]
)
"""Variables that scripts compute with: an exported one would reach the ranks with another value."""


def exports(job: Job, site: Site, threads: Word) -> dict[str, Word]:
    """Variables in the order in which they are exported; the job's win over the fabric's, those over the site's.

    Those of `env_from` have themselves for their value.

    Args:
        job: the resolved job.
        site: where it runs.
        threads: CPU cores a rank, for OpenMP.
    """
    of_site = {name: parse(text) for name, text in site.env.items()}
    of_fabric = fabric(job, site)
    of_source = _source_first(job)
    of_shell = {name: variable(name) for name in job.env_from}
    own = {"OMP_NUM_THREADS": threads, **_NO_USER_SITE} if job.engine != "none" else {"OMP_NUM_THREADS": threads}
    values = own | _interface(site) | of_site | of_fabric | job.env | of_source | of_shell
    order = (*own, *site.env, *_interface(site), *of_fabric, *job.env, *of_source, *of_shell)
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


def says_values(job: Job, site: Site) -> bool:
    """Whether files of the run say values of variables, so that only their owner may read them."""
    return bool(job.env or site.env)


def problems(key: str, variables: Iterable[str]) -> list[str]:
    """What is wrong with the names of a section of variables."""
    return [f"{key}: {why}" for name in variables if (why := _problem(name))]


def _problem(name: str) -> str:
    if not _NAME.fullmatch(name):
        return f"{name!r} is not a valid name of a variable"
    if name in (*OWN, *RANK, FAST_FABRIC) or name in _OF_SCRIPT:
        return f"{name} is set by bertjob"
    if name in place_variables():
        return f"{name} is set by the launcher"
    if _OF_BASH.fullmatch(name):
        return f"{name} belongs to bash"
    owner = next((row.where for row in SCHEDULERS.values() if name.startswith(row.reserved)), "")
    return f"{name} belongs to the scheduler ({owner})" if owner else ""
