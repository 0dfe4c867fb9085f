"""Checks of folders and network: space, quota, caches on shared homes, ports, the fabric's interface, GPUs."""

import posixpath
from collections.abc import Iterator, Mapping

from bertjob.cluster.doctor.case import Case, Finding, fail, ok, warn
from bertjob.cluster.host.filesystem import Place

_GB = 10**9
_LITTLE, _TOO_LITTLE = 20 * _GB, 2 * _GB
"""A checkpoint of BERT-large with Adam's moments takes 4 to 5 GB, and three may exist at once."""
_FEW_FILES = 10_000
_SHOWN = 6
_FIRST_PORT = 20000
"""Of launch/script."""

CACHES = {
    "HF_HOME": ".cache/huggingface",
    "TORCH_EXTENSIONS_DIR": ".cache/torch_extensions",
    "TRITON_CACHE_DIR": ".triton/cache",
}
"""Variables of caches, and where in the home folder they are without."""


def folders(case: Case) -> Iterator[Finding]:
    """Space and quota of the run directory, home, scratch …, each file system once."""
    seen: dict[tuple[str, int], str] = {}
    for role, place in case.machine.places.folders.items():
        if role in CACHES:
            continue
        same = seen.setdefault((place.kind, place.size), role)
        if same == role or place.error or not place.writable:
            yield _space(case, role, place)


def caches(case: Case) -> Iterator[Finding]:
    """Caches that all ranks of all nodes would fill at once, on a file system that all nodes share."""
    shared = {role: place for role, place in case.machine.places.folders.items() if role in CACHES and place.shared}
    if not shared:
        yield ok("caches", f"{', '.join(CACHES)} are on no shared file system")
        return
    kinds = "/".join(sorted({place.kind for place in shared.values()}))
    name = next(iter(shared))
    yield warn(
        "caches",
        f"{', '.join(shared)}: on {kinds}, where the ranks of all nodes lock and build at once",
        f"`env: {{{name}: /tmp/$USER/{name.lower()}}}` in the site file",
    )


def limits(case: Case) -> Iterator[Finding]:
    """Resource limits of this shell that the job gets, and is likely to reach."""
    if case.plan is not None and not case.limits:
        yield ok("limits", "no resource limit of this shell is likely to end the job")
    for problem in case.limits:
        yield warn("limits", problem.what, problem.remedy)


def ports(case: Case) -> Iterator[Finding]:
    """Whether there is room below the ports of outgoing connections for the one at which the ranks meet."""
    ephemeral = case.machine.places.ephemeral
    if ephemeral is None:
        return
    first, last = ephemeral
    if first > _FIRST_PORT:
        yield ok("ports", f"ranks meet at {_FIRST_PORT}-{first - 1}, outgoing connections take {first}-{last}")
    else:
        clash = (
            f"outgoing connections take {first}-{last}, and with it the ports from {_FIRST_PORT} at which ranks meet"
        )
        yield warn("ports", clash, "sysctl net.ipv4.ip_local_port_range on the nodes: begin above 32767")


def interface(case: Case) -> Iterator[Finding]:
    """Whether the fabric's interface exists."""
    wanted, there = case.site.fabric.interface, case.machine.places.interfaces
    if not wanted or wanted.startswith("^") or not there:
        return
    missing = [name for name in wanted.split(",") if not any(found.startswith(name) for found in there)]
    others = [name for name in there if name != "lo"]
    known = ", ".join(others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
    if not missing:
        yield ok("interface", f"{wanted} is here")
    elif case.scheduler.queues:
        absent = f"{', '.join(missing)} is not on this login node, which has {known}"
        yield warn("interface", absent, "`srun ip -br link` says what nodes have; `--prove` tries it")
    else:
        yield fail(
            "interface", f"{', '.join(missing)} does not exist", f"`fabric: {{interface: …}}` with one of {known}"
        )


def gpus(case: Case) -> Iterator[Finding]:
    """GPUs: of this machine where the job runs here, else those that the scheduler has."""
    asked, here = case.job.resources.gpus_per_node or 0, case.machine.programs.gpus
    if case.scheduler.queues:
        most = max((group.gpus for group in case.machine.scheduler.groups), default=0)
        if most and not asked and not case.named:  # of a named job the plan warns
            unused = f"nodes have {most}, and the job asks for none"
            yield warn("GPUs", unused, "`--gpus-per-node`, or `defaults: {gpus_per_node: …}` in the site file")
        elif asked:
            yield ok("GPUs", f"{asked} a node are asked for")
    elif asked > len(here):
        yield fail("GPUs", f"{asked} are asked for, {len(here)} are here", "`--gpus-per-node 0` trains on CPUs")
    else:
        yield ok("GPUs", f"{len(here)} {here[0]}" if here else "none here, so this trains on CPUs")


def _space(case: Case, role: str, place: Place) -> Finding:
    if place.error:
        return fail(role, f"{place.path}: {place.error}", "its file system may hang: ask the site's support")
    if not place.writable:
        level = fail if role == "run directory" else warn
        return level(role, f"{place.path}: you may not write there", "another folder: `--run-dir`")
    left = place.free if place.quota is None else min(place.free, place.quota - (place.used or 0))
    limit = "" if place.quota is None else f", {_size(place.used or 0)} of your {_size(place.quota)} used"
    said = f"{place.path}: {_size(max(0, left))} free on {place.kind}{limit}"
    if left < _TOO_LITTLE or (place.free_files or _FEW_FILES) < _FEW_FILES:
        few = "" if left < _TOO_LITTLE else f", and only {place.free_files} files"
        return (fail if role == "run directory" else warn)(role, said + few, "remove old runs, or another folder")
    if left < _LITTLE and role == "run directory":
        return warn(
            role, f"{said}; a checkpoint of BERT-large takes 4 to 5 GB", "remove old runs, or another --run-dir"
        )
    if role == "run directory" and case.scheduler.queues and not place.shared and case.proof is None:
        alone = f"{said}, which may be this machine's alone"
        return warn(role, alone, "a folder that all nodes see; `--prove` tells whether they do")
    return ok(role, said)


def _size(number: float) -> str:
    """Bytes in words, in powers of ten as vendors count."""
    for unit, size in (("TB", 10**12), ("GB", _GB)):
        if number >= size:
            return f"{number / size:.1f} {unit}" if number < 10 * size else f"{number / size:.0f} {unit}"
    return f"{number / 10**6:.0f} MB"


def cache_folders(variables: Mapping[str, str], home: str) -> dict[str, str]:
    """Where each cache is, for ranks with these variables."""
    return {name: variables.get(name) or posixpath.join(home, path) for name, path in CACHES.items()}
