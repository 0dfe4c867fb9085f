"""What Slurm says about itself: version, settings, partitions, PMI types."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bertjob.cluster.process import Reply, ask
from bertjob.cluster.scheduler_answers import NodeGroup, SchedulerFacts
from bertjob.launch.schedulers.sbatch_options import clusters, propagated

NO_CONFIGURATION = "Slurm's commands are here, but find no slurm.conf"
_LIMITS = frozenset({"AS", "CORE", "CPU", "DATA", "FSIZE", "MEMLOCK", "NOFILE", "NPROC", "RSS", "STACK"})
"""Those that Slurm hands on: slurm.conf(5) of 22.05, PropagateResourceLimits."""
_STEP_S = 20.0
_SINFO = "%P|%a|%l|%s|%D|%c|%m|%G|%f|%A|%X|%Y"
_CLUSTER = "CLUSTER: "
"""Before the lines of each cluster, where some are named, unless it prints no headers (sinfo 22.05)."""


def installed() -> bool:
    """Whether Slurm's commands are here; asks nobody."""
    return shutil.which("sinfo") is not None


def look(options: Sequence[str] = ()) -> SchedulerFacts:
    """Ask Slurm. The controller is pinged first, because all else waits nine seconds for one that is away.

    Args:
        options: of sbatch. The clusters that they name are asked, for settings the first of them.
    """
    there = _first_cluster(options)
    if shutil.which("sinfo") is None or shutil.which("scontrol") is None:
        return SchedulerFacts(error="there is no command sinfo or scontrol here")
    with ThreadPoolExecutor() as pool:
        said_version, said_types = pool.submit(version), pool.submit(ask, "srun", "--mpi=list")
        ping = ask("scontrol", *there, "ping")
        if (error := parse_ping(ping.output)) or ping.error:
            return SchedulerFacts(installed=True, error=error or _last_words(ping.error), version=said_version.result())
        said_config = pool.submit(ask, "scontrol", *there, "show", "config")
        said_groups = pool.submit(_sinfo, options)
    config, now = said_config.result(), time.time()
    types = parse_mpi_list(said_types.result().text)
    broken = unloadable(types)
    return SchedulerFacts(
        installed=True,
        error=config.error or said_groups.result().error,
        version=said_version.result(),
        settings=parse_config(config.output),
        groups=parse_sinfo(said_groups.result().output),
        mpi_types=tuple(kind for kind in types if kind not in broken),
        mpi_broken=broken,
        clock=parse_clock(config.output, now),
    )


def groups(options: Sequence[str]) -> tuple[NodeGroup, ...]:
    """Partitions and their nodes, of the clusters that options of sbatch name; empty where sinfo does not answer."""
    return parse_sinfo(_sinfo(options).output)


def limits_handed_on(options: Sequence[str]) -> frozenset[str]:
    """Names of the resource limits of this shell that a job gets, without ``RLIMIT_``; asks for Slurm's settings.

    Args:
        options: of sbatch, of which ``--propagate`` goes before the settings.
    """
    said = propagated(options)
    settings = {} if said else parse_config(ask("scontrol", *_first_cluster(options), "show", "config").output)
    some = said or settings.get("PropagateResourceLimits", "ALL")
    but = () if said else _names(settings.get("PropagateResourceLimitsExcept", ""))
    if some == "NONE":
        return frozenset()
    return (_LIMITS if some == "ALL" else _names(some)).difference(but)


def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().upper().removeprefix("RLIMIT_") for name in text.split(","))


def unloadable(types: Iterable[str]) -> dict[str, str]:
    """The types with which srun starts nothing, each with its reason; found inside of an allocation only.

    ``srun --mpi=list`` names a plugin whose library is missing as well (22.05.8 without libpmix).
    """
    if not os.environ.get("SLURM_JOB_ID"):
        return {}  # a step of its own would have to wait in the queue
    step = ("--overlap", "--nodes=1", "--ntasks=1", "--quiet", "true")
    said = {kind: ask("srun", f"--mpi={kind}", *step, timeout=_STEP_S, environment=os.environ) for kind in types}
    return {kind: reply.error for kind, reply in said.items() if reply.error and "no answer" not in reply.error}


def version() -> str:
    """Slurm's version as its commands say it, e.g. ``22.05.8``; empty without Slurm."""
    return parse_version(ask("sinfo", "--version").output)


def parse_version(output: str) -> str:
    """The version in ``slurm 23.11.4`` or ``slurm-wlm 22.05.8``."""
    match = re.search(r"\d+\.\d+(\.\d+)?\S*", output)
    return match[0] if match else ""


def parse_ping(output: str) -> str:
    """Why no controller answers by ``Slurmctld(primary) at HOST is DOWN``; empty when one does."""
    lines = [line for line in output.splitlines() if line.startswith("Slurmctld(")]
    if any(line.endswith("is UP") for line in lines):
        return ""
    return "; ".join(lines).replace("Slurmctld", "slurmctld")


def parse_config(output: str) -> dict[str, str]:
    """The settings of ``scontrol show config``; what is not set there is left out."""
    settings = {}
    for line in output.splitlines():
        name, equals, value = line.partition("=")
        if equals and value.strip() not in ("", "(null)", "N/A"):
            settings[name.strip()] = value.strip()
    return settings


def parse_clock(output: str, now: float) -> float | None:
    """Seconds that the controller is ahead, from ``Configuration data as of 2026-11-20T13:51:50``, its local time."""
    match = re.search(r"Configuration data as of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", output)
    if not match:
        return None
    ahead = time.mktime(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S")) - now
    return 0.0 if -1 <= ahead <= 0 else ahead  # it says whole seconds


def parse_sinfo(output: str) -> tuple[NodeGroup, ...]:
    """Groups of nodes from lines of the format above; lines of another form are passed over."""
    groups, cluster = [], ""
    for line in output.splitlines():
        if line.startswith(_CLUSTER):
            cluster = line.removeprefix(_CLUSTER).strip()
        fields = line.split("|")
        if len(fields) != len(_SINFO.split("|")) or fields[0] == "PARTITION":
            continue
        name, available, limit, size, nodes, cpus, memory, gres, features, states, sockets, cores = fields
        gpu, gpus = parse_gres(gres)
        most = size.rpartition("-")[2]
        groups.append(
            NodeGroup(
                partition=name.rstrip("*"),
                cluster=cluster,
                default=name.endswith("*"),
                up=available == "up",
                time=None if limit in ("infinite", "n/a") else limit,
                most_nodes=int(most) if most.isdecimal() else None,
                nodes=_number(nodes),
                idle=_number(states.rpartition("/")[2]),
                cpus=_number(cpus),
                cores=_number(sockets) * _number(cores),
                memory=_number(memory),
                gpus=gpus,
                gpu=gpu,
                features=() if features in ("(null)", "") else tuple(features.split(",")),
                more="+" in cpus + memory + sockets + cores,
            )
        )
    return tuple(groups)


def parse_gres(text: str) -> tuple[str, int]:
    """Name and number of the GPUs a node in ``gpu:a100:4(S:0-3),nvme:1``; several kinds are added up."""
    name, number = "", 0
    for part in re.sub(r"\([^)]*\)", "", text).split(","):
        kind, *rest = part.split(":")
        if kind == "gpu" and rest:
            number += _number(rest[-1])
            name = name or (rest[0] if len(rest) > 1 else "")
    return name, number


def parse_mpi_list(output: str) -> tuple[str, ...]:
    """The types of ``srun --mpi=list``, sorted; before 21.08 each line begins with ``srun:``."""
    found: set[str] = set()
    for line in output.splitlines():
        words = line.removeprefix("srun:").strip()
        if words.startswith("specific pmix plugin versions available:"):
            found.update(re.findall(r"pmix_v\d+", words))
        elif re.fullmatch(r"[a-z][a-z0-9_]*", words):
            found.add(words)
    return tuple(sorted(found))


def _sinfo(options: Sequence[str]) -> Reply:
    named = clusters(options)
    which = f"--clusters={','.join(named)}" if named else "--noheader"
    return ask("sinfo", which, f"--format={_SINFO}")


def _first_cluster(options: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"--clusters={name}" for name in clusters(options)[:1])


def _last_words(error: str) -> str:
    """The last complaint of several; without slurm.conf it is about a "configuration source"."""
    last = re.sub(r"^\w+: (error|fatal): ", "", error.rpartition("; ")[2])
    return NO_CONFIGURATION if "configuration source" in last else last


def _number(text: str) -> int:
    """The number that a field begins with: ``12`` and also ``12+``, sinfo's word for at least."""
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0
