"""The container of a job: the folders it sees, and the command line of its engine."""

import posixpath
from collections.abc import Callable, Iterable, Mapping

from bertjob.config.job import Job
from bertjob.config.registry.launchers import place_variables
from bertjob.config.site import Site
from bertjob.launch.argv import Word, parse, quote, value
from bertjob.launch.engines import ENGINES, Bind, Container
from bertjob.launch.engines.types import SOFTWARE
from bertjob.launch.environment import OWN
from bertjob.launch.input_paths import Need, needs
from bertjob.launch.schedulers import Scheduler

HOST_NAMES = "host-variables"
"""Name of the file with the names of the host's variables."""
_LIST_NAMES = rf"""
# Names of the host's variables, by which the container gets them: all but those that lead to the host's own software.
# Those that only the ranks have are not there yet: hence all beginnings that are none of the three.
{{
  compgen -e | grep -vxE '{"|".join(SOFTWARE)}'
  printf '%s\n' {{A..K}}\* {{M..O}}\* {{Q..Z}}\* {{a..z}}\* _\* L{{A..C}}\* L{{E..Z}}\* P{{B..X}}\* PALS_\* PZ\*
}} > FILE
""".strip()


def binds(
    job: Job,
    site: Site,
    runs: Word,
    linked: Callable[[str], Iterable[str]],
    variables: Mapping[str, str] = {},
) -> tuple[Bind, ...]:
    """The site's mounts, then the folders that the job needs and no mount before holds, at the same paths inside.

    Args:
        job: the resolved job.
        site: where it runs.
        runs: the folder of the run directories.
        linked: folders that the symbolic links at and in an absolute path lead to (Here.linked); without them a link
            leads nowhere inside.
        variables: values of variables that paths name, as far as they are known: engines refuse to mount one folder
            twice, by its path and by a variable.
    """
    mounts = (Bind(parse(mount.source), parse(mount.target or mount.source), mount.readonly) for mount in site.mounts)
    found = list({(_place(bind.source, variables), _place(bind.target, variables)): bind for bind in mounts}.values())
    own, protects = needs(job), ENGINES[job.engine or "none"].limits.readonly_mounts
    behind = [
        Need(need.key, folder, folder) for need in own if isinstance(need.path, str) for folder in linked(need.path)
    ]
    wanted = [Need("run directory", runs, runs, written=True), *own, *behind]
    for need in sorted(wanted, key=lambda need: str(need.folder)):  # so a parent comes before its children
        if not any(_holds(bind, need, variables) for bind in found):
            found.append(Bind(need.folder, need.folder, need.readonly and protects))
    return tuple(found)


def _holds(bind: Bind, need: Need, variables: Mapping[str, str]) -> bool:
    """Whether the folder is there at its own path through this bind, and may be written to if it must be.

    A variable's value may be another one on the nodes. So a folder below the value is mounted as well, which harms
    nowhere; only the very folder cannot be.
    """
    source = _place(bind.source, variables)
    below = str(need.folder).startswith(str(bind.source).rstrip("/") + "/")
    held = below or source == _place(need.folder, variables)
    return held and source == _place(bind.target, variables) and not (need.written and bind.readonly)


def _place(path: Word, variables: Mapping[str, str]) -> str:
    known = value(path, variables)
    return str(path) if known is None else posixpath.normpath(known)


def container(
    job: Job, site: Site, environment: Mapping[str, Word], binds: tuple[Bind, ...], workdir: Word, folder: Word
) -> Container:
    """What the engine of a resolved job is told.

    Args:
        job: the resolved job.
        site: where it runs.
        environment: variables that the script exports.
        binds: folders of the host.
        workdir: folder that the program starts in.
        folder: where a file lies that the engine reads.
    """
    assert job.engine is not None
    return Container(
        image=parse(job.image.ref or ""),
        binds=binds,
        workdir=workdir,
        folder=folder,
        gpus=job.resources.gpus_per_node or 0,
        gpu_vendor=site.gpu_vendor,
        environment=environment,
        inherited=job.env_from,
        ranks=(*OWN, *place_variables()),
        args=site.engine_args,
        annotations=site.annotations,
        host_names=folder + f"/{HOST_NAMES}" if ENGINES[job.engine].by_names else None,
    )


def with_gpus(job: Job, environment: Mapping[str, Word]) -> dict[str, Word]:
    """The environment with what makes the engine show GPUs, unless job or site say it otherwise."""
    assert job.engine is not None
    own = ENGINES[job.engine].gpu_environment if job.resources.gpus_per_node else {}
    return {**own, **environment}


def preparation(engine: str, told: Container, named: tuple[str, ...] = (), *, private: bool = False) -> str:
    """Lines of the script that make ready what the engine reads; empty for most.

    Args:
        engine: its name.
        told: what it is told.
        named: variables of the script that a file of the engine may name.
        private: only its owner may read the file.
    """
    row = ENGINES[engine]
    lines = [row.setup] if row.setup else []
    if row.started_by_srun and (hidden := row.hidden(told)):
        lines += ["# The image's own count, or none.", f"unset {' '.join(hidden)}"]
    if told.host_names is not None:
        lines += [_LIST_NAMES.replace("FILE", quote(told.host_names))]
    if row.file is not None:
        exported = " ".join(f'{name}="${name}"' for name in named)
        lines += [f"export {exported} # which the file names"] if named else []
        path = quote(told.folder + f"/{row.file.name}")
        write = f"(umask 077 && cat > {path})" if private else f"cat > {path}"
        lines += [f"{write} << 'END_OF_FILE'", row.file.text(told), "END_OF_FILE"]
    return "\n".join(lines)


_LACKING = "not found on $(hostname); load it in the modules of the site"


def presence(engine: str, scheduler: Scheduler) -> str:
    """Lines of the script that end it, in words, where a node lacks the engine; empty without one."""
    row = ENGINES[engine]
    if row.srun_option:
        lacking = f"srun on $(hostname) has no option {row.srun_option}: engine {engine} is not installed here"
        return _or_end(f"[[ $(srun --help) == *{row.srun_option}* ]]", lacking)
    if row.program and scheduler.on_each_node:
        return scheduler.on_each_node(row.program, _LACKING)
    return _or_end(f"command -v {row.program} > /dev/null", f"{row.program}: {_LACKING}") if row.program else ""


def _or_end(condition: str, lacking: str) -> str:
    return f'{condition} || {{\n  echo "bertjob: {lacking}" >&2\n  exit 127\n}}'
