"""Several clusters: which one Slurm's commands ask here by default, and the option that names another one.

Where clusters share a slurmdbd, ``--clusters`` reaches each of them from everywhere. It needs slurmdbd, so the cluster
of this machine, whose controller slurm.conf names, is asked without.
"""

import os
import re
import time
from functools import cache
from pathlib import Path

from bertjob.cluster import process
from bertjob.cluster.slurm.facts import parse_config

_DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
_ASK_AGAIN_S = 30.0
_in_vain: dict[str, float] = {}
"""When nobody answered, by SLURM_CONF: a table of many runs is not to wait for a controller once per row."""
_VARIABLES = ("SLURM_CLUSTERS", "SBATCH_CLUSTERS", "SLURM_TIME_FORMAT")
_NAME = re.compile(r"^\s*ClusterName\s*=\s*([^\s#]+)", re.MULTILINE | re.IGNORECASE)


def option(cluster: str) -> tuple[str, ...]:
    """The words by which Slurm's commands ask a cluster; none for the one of this machine, or where it is not known."""
    return () if not cluster or cluster == home() else (f"--clusters={cluster}",)


def environment() -> dict[str, str]:
    """This process's environment for Slurm's commands: what names clusters or forms of times there is for others."""
    return {name: value for name, value in process.clean_environment(os.environ).items() if name not in _VARIABLES}


def home() -> str:
    """The cluster of this machine, in small letters as Slurm has it; empty where nobody tells."""
    return _home(os.environ.get("SLURM_CONF", ""))


def _home(conf: str) -> str:
    if time.monotonic() - _in_vain.get(conf, float("-inf")) > _ASK_AGAIN_S:
        try:
            return _told(conf)
        except LookupError:  # no controller answers
            _in_vain[conf] = time.monotonic()
    return _read(_DEFAULT_CONF)


@cache
def _told(conf: str) -> str:
    """What the configuration says; an exception, which is not kept, where nobody can be asked now."""
    if conf and (name := _read(Path(conf))):
        return name
    reply = process.ask("scontrol", "show", "config", environment=environment())
    return parse_config(reply.output)["ClusterName"].lower()


def _read(conf: Path) -> str:
    try:
        found = _NAME.search(conf.read_text(errors="replace"))
    except OSError:
        return ""
    return found[1].lower() if found else ""
