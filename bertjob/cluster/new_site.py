"""A site file written from what Slurm and the programs of a login node say of themselves."""

import json
import re
from collections.abc import Iterator, Sequence

from bertjob.cluster.host import Machine
from bertjob.cluster.host.programs import HostLauncher
from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.config import walltime
from bertjob.text import counted

_FABRICS = (("hsn", "slingshot"), ("ib", "infiniband"), ("ipogif", "aries"))
"""How interfaces of fast networks are called, and the preset for each."""
_SHOWN = 6


def site_name(cluster: str) -> str:
    """A name for the site: Slurm's ClusterName, as far as a name may have its characters."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", cluster).lstrip("._-")[:64] or "cluster"


def site_file(name: str, called: str, machine: Machine, host: str, day: str) -> str:
    """The text: keys with what was found, comments with what else there is to choose from.

    Args:
        name: name of the site.
        called: what to give to --site: the name, or the file's path.
        machine: what was asked; its scheduler answers.
        host: this machine's name.
        day: today, for the source.
    """
    sections = (
        _head(name, called, machine, host, day),
        _containers(machine),
        _mpi(machine),
        _network(machine),
        _nodes(machine),
    )
    return "\n\n".join("\n".join(lines) for lines in sections) + "\n"


def _head(name: str, called: str, machine: Machine, host: str, day: str) -> Iterator[str]:
    slurm = machine.scheduler
    yield f"# Written by `bertjob sites new` from what Slurm {slurm.version} and the programs on {_plain(host)} say."
    yield f"# Read it through, then: bertjob doctor --site {called}, bertjob doctor --prove --nodes 2 --site {called}"
    yield f"name: {name}"
    yield f"description: {json.dumps(f'Slurm cluster {slurm.cluster}: {_summary(slurm.groups)}')}"
    yield f"source: {json.dumps(f'sinfo, scontrol show config and srun --mpi=list on {host}, {day}')}"
    yield "scheduler: slurm"
    if machine.programs.modules:
        yield "# What mpirun or the container engine needs: names of `module avail`."
        yield "# modules: []"


def _containers(machine: Machine) -> Iterator[str]:
    engines = [f"{name} {version}".strip() for name, version in machine.programs.engines.items()]
    yield f"# Container engines on this login node: {', '.join(engines) or 'none'}. With one, also name an image:"
    yield "# image: {ref: nvcr.io/nvidia/pytorch:25.09-py3}"
    yield "engine: none"


def _mpi(machine: Machine) -> Iterator[str]:
    types = machine.scheduler.mpi_types
    yield "# auto: srun for ranks that talk by NCCL or gloo; for jobs with `mpi: true` what fits the MPI of image, host"
    yield "# and Slurm. `bertjob doctor` says which launchers would work, and why the others would not."
    yield "launcher: auto"
    found = machine.programs.mpi
    yield "mpi:"
    if found:
        yield from _host_mpi(found[0])
    else:
        yield "  # No mpirun or mpiexec was found on this login node; a module may bring one."
    default = machine.scheduler.settings.get("MpiDefault", "none")
    yield f"  slurm: [{', '.join(types)}] # srun --mpi=list; its default is {default}"


def _host_mpi(mpi: HostLauncher) -> Iterator[str]:
    library = mpi.library
    yield f"  family: {library.family} # {mpi.command} is of version {mpi.version}"
    if library.family == "openmpi" and mpi.major in (4, 5):
        yield f"  version: {mpi.major}"
    if library.pmi:
        yield f"  pmi: [{', '.join(library.pmi)}] # ompi_info --parsable"


def _network(machine: Machine) -> Iterator[str]:
    there = [name for name in machine.places.interfaces if name != "lo"]
    fast = [(name, preset) for name in there for prefix, preset in _FABRICS if re.fullmatch(rf"{prefix}\d+", name)]
    shown = ", ".join(map(_plain, there[:_SHOWN])) + (", …" if len(there) > _SHOWN else "")
    yield f"# Interfaces of this login node: {shown or 'none'}. Nodes may have others: srun ip -br link"
    if fast:
        yield f"fabric: {{preset: {fast[0][1]}, interface: {fast[0][0]}}}"
    else:
        yield "# fabric: {preset: ethernet, interface: eth0}"


def _nodes(machine: Machine) -> Iterator[str]:
    slurm = machine.scheduler
    up = [group for group in slurm.groups if group.up] or list(slurm.groups)
    yield "# Partitions:"
    for group in slurm.groups:
        yield f"#   {_described(group)}"
    if any(group.gpus for group in up):
        tres = slurm.settings.get("SelectType", "select/cons_tres") == "select/cons_tres"
        yield f"gpu_option: {'gpus-per-node' if tres else 'gres'} # {slurm.settings.get('SelectType')}"
    main = max(up, key=lambda group: (group.gpus > 0, group.default, group.nodes), default=None)
    if main is None:
        return
    yield "defaults:"
    if not main.default:
        yield f"  partition: {_plain(main.partition)}"
    if "associations" in slurm.settings.get("AccountingStorageEnforce", ""):
        yield "  # account: … # jobs are charged here: sacctmgr show associations user=$USER"
    yield f'  time: "{_hour(main.time)}"'
    yield f"  gpus_per_node: {main.gpus}"
    yield f"limits: {{{', '.join(_limits(up))}}}"


def _limits(groups: Sequence[NodeGroup]) -> Iterator[str]:
    """What no partition accepts."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.partition] = sizes.get(group.partition, 0) + group.nodes
    most = {group.partition: group.most_nodes for group in groups}
    yield f"nodes: {max(min(size, most[name] or size) for name, size in sizes.items())}"
    times = [group.time for group in groups]
    if all(times):
        yield f'time: "{max((time for time in times if time), key=walltime.parse)}"'
    yield f"cpus_per_node: {max(group.cpus for group in groups)}"
    yield f"gpus_per_node: {max(group.gpus for group in groups)}"


def _hour(limit: str | None) -> str:
    """An hour, or the partition's limit where that is shorter."""
    return limit if limit and walltime.parse(limit) < 3600 else "01:00:00"


def _described(group: NodeGroup) -> str:
    gpus = f", {group.gpus} {_plain(group.gpu) or 'GPU'} each" if group.gpus else ""
    features = f", features {' '.join(map(_plain, group.features))}" if group.features else ""
    default = " (default)" if group.default else "" if group.up else " (down)"
    limit = f"up to {group.time}" if group.time else "no time limit"
    return f"{_plain(group.partition)}{default}: {group.nodes} nodes of {group.cpus} CPUs{gpus}, {limit}{features}"


def _summary(groups: Sequence[NodeGroup]) -> str:
    best = max(groups, key=lambda group: (group.gpus, group.nodes), default=None)
    if best is None:
        return "no partition is seen"
    gpus = f"{best.gpus} {best.gpu}" if best.gpu else counted(best.gpus, "GPU")
    return f"{best.nodes} nodes with {best.cpus} CPUs{f' and {gpus}' if best.gpus else ''} each"


def _plain(text: str) -> str:
    """Text that is one word of a comment or value, whatever Slurm's administrators have put into it."""
    return re.sub(r"[^\w.@%+=/()-]", "?", text)
