"""A shell where the ranks of a job would run: the same modules, environment, mounts and engine, as a script.

On a site with a scheduler the script asks for an allocation, unless it runs in one, and starts the shell on the first
node.
"""

from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.config.yaml import Origin
from bertjob.launch import checks
from bertjob.launch.argv import Word, parse, quote, value, variable
from bertjob.launch.container import binds, container, preparation, presence, with_gpus
from bertjob.launch.engines import ENGINES, Bind
from bertjob.launch.environment import exports, says_values
from bertjob.launch.plan import Layer
from bertjob.launch.resolve import Here, resolve
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.launch.script import command, environment, modules

_HOST_NAMES_FOLDER = ".cache/bertjob"
"""Where a shell, which has no run directory, keeps the names of the host's variables, below the home."""
_NOWHERE: Mapping[str, Origin] = {}


class Shell(msgspec.Struct, frozen=True):
    """How a shell starts.

    Attributes:
        job: the resolved job that it stands for.
        site: where it runs.
        environment: variables that the script exports.
        layers: what starts it on a node, engine and the words to run.
        files: lines that make ready what the engine wants to find.
        unseen: folders that the job names, and that are not there to be mounted.
    """

    job: Job
    site: Site
    environment: dict[str, Word]
    layers: tuple[Layer, Layer, Layer]
    files: str
    unseen: tuple[str, ...]


def shell(
    job: Job, site: Site, here: Here, words: tuple[str, ...], tty: bool, said: Mapping[str, Origin] = _NOWHERE
) -> Shell:
    """Decide how a shell starts; whether the job could train, and whether its data are there, is no matter.

    Args:
        job: whose environment is wanted.
        site: where.
        here: facts of this machine; the shell starts in its working directory.
        words: the shell, or another command.
        tty: there is a terminal.
        said: where the keys of the job were said, for messages about them.

    Raises:
        PreflightError: it cannot be had there; one line with all that stands against it.
    """
    scheduler = SCHEDULERS[site.scheduler]
    whole = resolve(replace(job, launcher=scheduler.launcher, mpi=False), site, here, interactive=True)
    checks.refuse_shell(whole, site, said)
    assert whole.engine is not None
    assert whole.resources.cpus_per_task is not None
    exported = with_gpus(whole, exports(whole, site, scheduler.cores(whole.resources.cpus_per_task)))
    wanted = binds(whole, site, here.cwd, here.linked, here.environment)
    checks.refuse_links(wanted, whole, site)
    overlay = whole.image.overlay
    there = tuple(bind for bind in wanted if _may_be_there(bind, here, parse(overlay) if overlay else None))
    told = container(whole, site, exported, there, here.cwd, _folder(whole.engine))
    engine = ENGINES[whole.engine].start(replace(told, stdin=True, tty=tty))
    return Shell(
        job=whole,
        site=site,
        environment=exported,
        layers=(Layer(scheduler.one_process(tty)), Layer(engine), Layer(words)),
        files=_files(preparation(whole.engine, told, private=says_values(whole, site)), whole.engine),
        unseen=tuple(str(bind.source) for bind in wanted if bind not in there),
    )


def script(shell: Shell) -> str:
    """The text of the script; bash runs it, on the login node or in an allocation."""
    site, scheduler = shell.site, SCHEDULERS[shell.site.scheduler]
    assert shell.job.engine is not None
    sections = [
        _head(shell),
        scheduler.allocation(shell.job, site),
        modules(site),
        "\n".join(environment(shell.job, site, shell.environment)),
        shell.files,
        presence(shell.job.engine, scheduler),
        f"exec {command(shell.layers)}",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _may_be_there(bind: Bind, here: Here, overlay: Word | None) -> bool:
    """Whether a folder is here, or only the nodes know: a variable may have another value there.

    Not where it names an overlay, which is on a file system that all see.
    """
    source = value(bind.source, here.environment) if bind.source == overlay else bind.source
    return not isinstance(source, str) or here.is_folder(source)


def _folder(engine: str) -> Word:
    """Where the file of an engine lies; there is no run directory. Every node sees the home."""
    row = ENGINES[engine]
    inner = row.file.shell_folder if row.file else _HOST_NAMES_FOLDER if row.by_names else ""
    return variable("HOME") + (f"/{inner}" if inner else "")


def _files(prepared: str, engine: str) -> str:
    row = ENGINES[engine]
    return f"mkdir -p {quote(_folder(engine))}\n{prepared}" if row.file or row.by_names else prepared


def _head(shell: Shell) -> str:
    return "\n".join(
        [
            "#!/bin/bash -l" if shell.site.login_shell else "#!/usr/bin/env bash",
            f"# A shell in the environment of job {shell.job.name}, made by bertjob for site {shell.site.name}, engine"
            f" {shell.job.engine}. Run it with bash.",
        ]
    )
