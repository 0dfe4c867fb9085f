"""Images by the engine of a site: run the verbs, tell digests, look inside."""

import collections
import contextlib
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from bertjob.cluster.host import programs
from bertjob.cluster.images import seen
from bertjob.cluster.images.archive import damaged, is_damaged
from bertjob.cluster.images.exec import expanded, overlay_folder, starter
from bertjob.cluster.process import Process, Reply, ask, deferred_interrupt, start
from bertjob.config.job import Image
from bertjob.config.site import Site
from bertjob.errors import BertjobError, PreflightError
from bertjob.launch.engines import ENGINES, Bind
from bertjob.launch.engines.images import commands, find_digest, stand_ins
from bertjob.launch.engines.types import Command, Order
from bertjob.launch.plan import Plan
from bertjob.rundir.image_contents import NEEDED, OPTIONAL, ImageFacts

OnLine = Callable[[str], object]
Watch = Callable[[int | None], object]

_PATIENCE_S = 10.0
"""A submission waits no longer for the digest of its image."""
_LOOK_S = 180.0
"""torch alone takes seconds to load, from a cold parallel file system a minute."""
_CHUNK = 1 << 20
_KEPT_LINES = 20
_PROGRAM = Path(__file__).with_name("inside.py")
_DOCKER_ARCHIVE = "docker-archive:"
_DAMAGED = ("unexpected EOF", "unexpected end", "corrupt", "invalid checksum", "not in gzip format")
"""What engines say of an archive that is not whole."""
_MEANINGS = (
    (
        (
            *("Failed to pull image", "initializing source", "Unable to find image", "pinging container"),
            # The resolver, curl, Go and Python's requests, by which engines ask registries.
            *("no such host", "Could not resolve host", "name resolution", "Name or service not known", "dial tcp"),
            *("Max retries exceeded", "Network is unreachable", "network is unreachable", "Failed to connect to"),
            *("Connection refused", "connection refused", "Connection timed out", "i/o timeout", "handshake timeout"),
            *("Client.Timeout exceeded", "No route to host", "no route to host"),
        ),
        "the registry cannot be reached from here or lacks the image; without a network: {offline}",
    ),
    (
        ("is not available", "image not known", "No such image", "no such image"),
        "there is no such image here: bring it by `bertjob image pull` or `bertjob image load`",
    ),
    (
        ("Cannot connect to the Docker daemon",),
        "its daemon does not run on this machine: start it, or name another engine by --engine",
    ),
    (
        ("/ch/environment",),
        "the image has no list of its variables: put NAME=VALUE lines into its file /ch/environment; it may be empty",
    ),
)
"""What engines say, and what it means to somebody who has not seen it before; {offline} is `_offline`."""


def engine_of(site: Site, named: str | None = None) -> str:
    """The engine for images: the one named, the site's, or on a site without one what stands in for it here.

    Raises:
        PreflightError: there is none.
    """
    engine = named or site.engine
    if engine != "none":
        return engine
    known = stand_ins()
    found = next((name for name in known if shutil.which(ENGINES[name].program)), None)
    if found is None:
        raise PreflightError(f"site {site.name} has no engine, and neither {' nor '.join(known)} is here: say --engine")
    return found


def run(
    sequence: Iterable[Command],
    site: Site,
    on_line: OnLine = lambda line: None,
    hidden: Collection[str] = (),
    watch: Watch = lambda pid: None,
) -> None:
    """Run commands one after the other, in the environment that the site's modules make.

    Args:
        sequence: commands.
        site: whose modules are loaded.
        on_line: is given each line that they print.
        hidden: variables that the commands do not get.
        watch: is given the process of each command, and None at its end.

    Raises:
        PreflightError: a command is not here, or the site's modules cannot be loaded.
        BertjobError: a command failed; in its last words.
    """
    environment = _environment(site, hidden)
    for command in sequence:
        _run(command, environment, site, on_line, watch)


def digest(engine: str, ref: str, site: Site) -> str | None:
    """The content digest ``sha256:…`` of an image that is here, or None: nobody can tell within seconds.

    Of an image that is a file it is the digest of its bytes; of one that was loaded from an archive, and of which the
    engine tells none, that of the archive.
    """
    if ref.startswith("/"):
        return _file_digest(Path(ref))
    if isinstance(ENGINES[engine].images.digest, str):
        return None
    environment, error = programs.loaded(site)
    order = Order(ref=ref)
    (command,) = commands(engine, "digest", order)
    reply = ask(*command, timeout=_PATIENCE_S, environment=environment)
    told = None if error or reply.error else find_digest(engine, order, reply.output)
    return told or seen.digest_of_archive(engine, ref)


def digest_of(plan: Plan) -> str | None:
    """The digest of a plan's image; None without a container too."""
    return None if plan.engine == "none" or plan.image is None else digest(plan.engine, plan.image, plan.site)


def inspect(image: Image, site: Site, engine: str | None = None, gpus: int = 0, timeout: float = _LOOK_S) -> ImageFacts:
    """Start an image, as a job of the site would, and look what it holds, which is kept for jobs to compare.

    Args:
        image: its `ref`, and the overlay whose Python is used in place of the image's.
        site: whose engine, mounts, modules and Python are taken.
        engine: another engine than the site's.
        gpus: GPUs to ask the engine for.
        timeout: seconds until the program in the image is ended.

    Raises:
        PreflightError: the engine is not here, or there is no such image or overlay.
        BertjobError: the image does not start, or its Python failed or gave no answer in time.
    """
    name = engine_of(site, engine)
    if image.ref is None:
        raise PreflightError(f"site {site.name} names no image: give one")
    overlay = overlay_folder(image.overlay, site) if image.overlay else None
    if overlay and not os.path.lexists(f"{overlay}/bin/python"):  # a link to the image's Python, which is not here
        raise PreflightError(f"overlay {overlay}: there is no such environment: `bertjob image overlay` makes it")
    python = f"{overlay}/bin/python" if overlay else expanded(site.python or "python3", site)
    program = (python, "-s", "-c", _PROGRAM.read_text(encoding="utf-8"), *NEEDED, *OPTIONAL)
    environment = _environment(site, ENGINES[name].inherits)
    with starter(name, image.ref, site, (Bind(overlay, overlay),) if overlay else (), gpus) as command:
        reply = ask(*command(program), timeout=timeout, environment=environment)
    if reply.absent:
        raise _not_started(reply, site)
    if reply.error:
        raise _failure(f"{name}: {image.ref}", reply.error, (reply.complaint or reply.output).splitlines())
    try:
        facts = msgspec.json.decode(reply.output.rstrip().rpartition("\n")[2], type=ImageFacts)
    except msgspec.DecodeError:
        raise BertjobError(f"{name}: {image.ref}: {python} in it gives no answer") from None
    seen.remember(name, image, site, digest(name, image.ref, site), facts)
    return facts


def _environment(site: Site, hidden: Collection[str] = ()) -> dict[str, str]:
    """What the site's modules make of ours."""
    environment, error = programs.loaded(site)
    if error:
        raise PreflightError(f"site {site.name}: its modules cannot be loaded here: {error}")
    return {name: value for name, value in environment.items() if name not in hidden}


def _run(command: Command, environment: dict[str, str], site: Site, on_line: OnLine, watch: Watch) -> None:
    last: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
    with _ended_with_us(command, environment) as process:
        if isinstance(process, Reply):
            raise _not_started(process, site)
        assert process.stdout is not None
        watch(process.pid)
        for line in process.stdout:
            last.append(line.rstrip("\n"))
            on_line(last[-1])
    watch(None)
    if process.returncode:
        if archive := _archive(command):
            raise _not_loaded(command, archive, last)
        raise _failure(" ".join((*command[:2], command[-1])), f"exit code {process.returncode}", last)


@contextlib.contextmanager
def _ended_with_us(command: Command, environment: dict[str, str]) -> Iterator[Process | Reply]:
    """A process that what ends us ends as well, from its start on: a terminal sends ^C to both, but nobody else does.

    TERM is an interrupt here; Python would die of it at once.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        with deferred_interrupt():
            process = start(command, environment, watched=True)
            if not isinstance(process, Reply):
                stack.enter_context(process)  # which waits for it
                stack.push(partial(_terminate, process))
        yield process


def _terminate(process: Process, kind: type[BaseException] | None, *_: object) -> None:
    """End a process where an error leaves the context."""
    if kind is not None:
        process.terminate()


def _archive(command: Command) -> str:
    """The docker-archive that a command reads; empty where it reads none."""
    if named := [word for word in command if word.startswith(_DOCKER_ARCHIVE)]:
        return named[0].removeprefix(_DOCKER_ARCHIVE)
    return next((word for word in command if word.startswith("/")), "") if "load" in command else ""


def _not_loaded(command: Command, archive: str, lines: Iterable[str]) -> BertjobError:
    """The error for an archive that an engine did not take; no registry has a part in it.

    An engine that tries several formats has a line for each.
    """
    said = [line.strip() for line in lines if line.strip()]
    found = is_damaged(Path(archive))
    if any(sign in line for sign in _DAMAGED for line in said) if found is None else found:
        return damaged(Path(archive))
    why = next((line for line in said if _DOCKER_ARCHIVE in line), said[-1] if said else "no reason given")
    return BertjobError(f"{' '.join(command[:2])}: {archive} cannot be loaded: {why.removeprefix('* ')}")


def _failure(what: str, error: str, lines: Iterable[str]) -> BertjobError:
    """The error for a command that failed: what its words mean, where that is known, else the last of them."""
    said = [line.strip() for line in lines if line.strip()]
    for signs, meaning in _MEANINGS:
        if any(sign in line for sign in signs for line in said):
            return PreflightError(f"{what}: {meaning.replace('{offline}', _offline(what.split()[0].rstrip(':')))}")
    return BertjobError(f"{what}: {said[-1] if said and 'no answer' not in error else error}")


def _offline(program: str) -> str:
    """How an image comes here without a registry, by the engine that a program belongs to."""
    rows = {name: row for name, row in ENGINES.items() if program in {name, *row.programs}}
    lacking = {name: row.images.load for name, row in rows.items() if isinstance(row.images.load, str)}
    if rows and rows.keys() == lacking.keys():
        name, why = next(iter(lacking.items()))
        return f"engine {name} {why}"
    return "`bertjob image load FILE.tar`"


def _not_started(reply: Reply, site: Site) -> PreflightError:
    modules = f", with the modules of site {site.name} loaded" if site.modules else ""
    return PreflightError(f"{reply.error}{modules}{': go where the engine is' * reply.absent}")


def _file_digest(path: Path) -> str | None:
    content, end = hashlib.sha256(), time.monotonic() + _PATIENCE_S
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                content.update(chunk)
                if time.monotonic() > end:
                    return None
    except OSError:
        return None
    return f"sha256:{content.hexdigest()}"
