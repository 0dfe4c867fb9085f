"""What an engine cannot express, said before anything is queued."""

import re
from collections.abc import Iterable, Iterator

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.engines import ENGINES, Bind, containers, references
from bertjob.launch.input_paths import needs
from bertjob.launch.schedulers import SCHEDULERS

_CHARACTERS = {",": "commas", ":": "colons", ";": "semicolons", " ": "spaces", '"': "double quotes"}
_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def problems(job: Job, site: Site) -> Iterator[str]:
    """What stands against a resolved job in its engine, one line each."""
    if job.engine in (None, "none"):
        return
    yield from _image(job)
    yield from _mounts(job, site)
    engine = ENGINES[job.engine]
    limits = engine.limits
    scheduler = SCHEDULERS[site.scheduler]
    if scheduler.queues and engine.daemon:
        yield f"engine {job.engine} does not work {scheduler.where}: its daemon starts containers outside of the job"
    if engine.started_by_srun and not scheduler.has_srun:
        has = "another scheduler" if scheduler.queues else "no scheduler"
        yield f"engine {job.engine} is a part of Slurm's srun, and the site has {has}"
    if job.resources.gpus_per_node and site.gpu_vendor not in limits.gpu_vendors:
        able = (name for name, row in containers().items() if site.gpu_vendor in row.limits.gpu_vendors)
        yield f"engine {job.engine} shows no {site.gpu_vendor} GPUs; these do: {', '.join(able)}"
    if site.annotations and not limits.annotations:
        yield f"annotations: engine {job.engine} reads none"
    yield from (f"annotations: {key!r} is no key like com.hooks.cxi.enabled" for key in site.annotations if _odd(key))
    if not limits.empty_variables:
        for key, section in (("env", job.env), ("the site's env", site.env), ("fabric.env", site.fabric.env)):
            empty = (name for name, value in section.items() if value == "")
            yield from (f"{key}: {name} is empty, and engine {job.engine} unsets such variables" for name in empty)
    if site.engine_args and not limits.takes_args:
        yield f"engine_args: engine {job.engine} has no options of its own; annotations may say it"


def problem_of_path(path: str, engine: str) -> str:
    """Why the engine cannot mount the path; empty when it can."""
    for character, parts in ENGINES[engine].limits.separators.items():
        if character in path:
            mark = _CHARACTERS.get(character, repr(character))
            return f"{engine} separates {parts} by {mark} and cannot take one in a path"
    return ""


def problem_of_links(binds: Iterable[Bind], engine: str) -> str:
    """Why the engine cannot mount a folder that no key names: a symbolic link leads there; empty when it can all."""
    for bind in binds:
        if isinstance(bind.source, str) and (wrong := problem_of_path(bind.source, engine)):
            return f"{bind.source!r}, where a symbolic link of the job's paths leads: {wrong}"
    return ""


def _odd(key: str) -> bool:
    """Whether the key of an annotation has more in it than TOML and a command line take without quotes."""
    return _KEY.fullmatch(key) is None


def _image(job: Job) -> Iterator[str]:
    assert job.engine is not None
    if job.image.ref is None:
        yield f"engine {job.engine} needs an image: set image.ref"
    elif wrong := references.problem(job.image.ref, job.engine, ENGINES[job.engine].takes):
        yield f"image.ref: {job.image.ref!r} {wrong}"
    if (overlay := job.image.overlay) and not references.PATH.fullmatch(overlay):
        yield f"image.overlay: {overlay!r} is no absolute path"


def _mounts(job: Job, site: Site) -> Iterator[str]:
    assert job.engine is not None
    limits = ENGINES[job.engine].limits
    mounted = [(need.key, str(need.folder)) for need in needs(job)]
    for mount in site.mounts:
        paths = (mount.source, mount.target or mount.source)
        mounted += [("mounts", path) for path in paths]
        yield from (f"mounts: {path!r} is no absolute path" for path in _relative(paths))
        if mount.readonly and not limits.readonly_mounts:
            yield f"mounts: {mount.source!r}: {job.engine} has no readonly mounts: leave it out"
        if paths[1].startswith(limits.reserved):
            yield f"mounts: {paths[1]!r}: {job.engine} mounts nothing below {', '.join(limits.reserved)}"
    for key, path in dict.fromkeys(mounted):
        if wrong := problem_of_path(path, job.engine):
            yield f"{key}: {path!r}: {wrong}"


def _relative(paths: Iterable[str]) -> Iterator[str]:
    return (path for path in dict.fromkeys(paths) if not references.PATH.fullmatch(path))
