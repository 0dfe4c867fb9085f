"""Programs of the host: the site's modules, launchers such as mpirun, container engines, GPUs."""

import os
import pwd
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from bertjob.cluster.process import ask
from bertjob.config.job import Library
from bertjob.config.registry.launcher_programs import OPEN_MPI, SRUN, Program
from bertjob.config.registry.launchers import programs
from bertjob.config.site import Site
from bertjob.launch.engines import ENGINES

_MODULES_TIMEOUT_S = 20.0
"""`module load` reads hundreds of small files, often from a parallel file system."""

Environment = Mapping[str, str]


class HostLauncher(msgspec.Struct, frozen=True):
    """An mpirun, mpiexec or the like of the host.

    Attributes:
        command: what it is called, e.g. ``mpirun``.
        program: which of the launchers' programs it is.
        product: what it calls itself, e.g. ``Open MPI``.
        version: e.g. ``4.1.4``.
        pmix: components of Open MPI 4's pmix framework, e.g. ext3x; empty in version 5, which has it built in.
    """

    command: str
    program: Program
    product: str
    version: str
    pmix: tuple[str, ...] = ()

    @property
    def major(self) -> int:
        """Open MPI 4 and 5 have different words for the same."""
        return int(self.version.partition(".")[0]) if self.version else 0

    @property
    def library(self) -> Library:
        """The same as launching sees it; what descends from MPICH is of one family."""
        return Library(family=self.program.family, version=self.version, pmi=spoken(self.pmix))


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """What is installed here, with the site's modules loaded.

    Attributes:
        modules: the module command's version; empty where there is none.
        modules_error: why the site's modules cannot be loaded, on one line.
        launchers: every mpirun, mpiexec and the like.
        engines: version by name of the container engine, e.g. ``{"podman": "4.3.1"}``.
        gpus: one name each, e.g. ``NVIDIA H200``.
    """

    modules: str = ""
    modules_error: str = ""
    launchers: tuple[HostLauncher, ...] = ()
    engines: Mapping[str, str] = {}
    gpus: tuple[str, ...] = ()

    @property
    def mpi(self) -> tuple[HostLauncher, ...]:
        """The launchers that belong to an MPI library."""
        return tuple(launcher for launcher in self.launchers if launcher.program.family)


def look(site: Site) -> Programs:
    """Ask the programs, all at the same time, in the environment that the site's scripts make."""
    environment, error = loaded(site)
    with ThreadPoolExecutor() as pool:
        module = pool.submit(ask, "bash", "-lc", "module --version", environment=environment)
        launchers = [pool.submit(_launcher, name, environment) for name in commands()]
        engines = {name: pool.submit(_engine, words, environment) for name, words in _engines().items()}
        srun = pool.submit(ask, SRUN.name, "--help", environment=environment)
        gpus = pool.submit(_gpus)
    found = {name: version for name, asked in engines.items() if (version := asked.result()) is not None}
    options = {name: row.srun_option for name, row in ENGINES.items() if row.started_by_srun}
    plugins = {name: "plugin of srun" for name, option in options.items() if f"{option}=" in srun.result().output}
    said = module.result()
    return Programs(
        modules="" if said.error else parse_version(said.text),
        modules_error=error,
        launchers=tuple(launcher for asked in launchers if (launcher := asked.result()) is not None),
        engines=found | plugins,
        gpus=gpus.result(),
    )


def loaded(site: Site) -> tuple[Environment, str]:
    """The environment after the site's modules and setup lines, and why they fail, on one line.

    It has USER, without which ch-run does not even tell its version (0.31), and which a container may lack.
    """
    lines = [*(f"module load {shlex.quote(module)}" for module in site.modules), *site.setup]
    user = {"USER": _user()}
    if not lines:
        return user | dict(os.environ), ""
    code = "\n".join(["set -e", "{", *lines, "} >&2", "env -0"])
    shell = ("bash", "-l") if site.login_shell else ("bash",)
    reply = ask(*shell, "-c", code, timeout=_MODULES_TIMEOUT_S)
    if reply.error:
        return user | dict(os.environ), reply.error
    return user | dict(entry.partition("=")[::2] for entry in reply.output.split("\0") if "=" in entry), ""


def _user() -> str:
    """As ``id -un`` says, or the number of a user who has no name here."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def commands() -> tuple[str, ...]:
    """The commands that may be one of the launchers' programs."""
    probes = (program.probe for program in programs() if program.probe)
    return tuple(dict.fromkeys(command for probe in probes for command in probe.commands))


def _launcher(command: str, environment: Environment) -> HostLauncher | None:
    if shutil.which(command, path=environment.get("PATH")) is None:
        return None
    found = parse_banner(command, ask(command, "--version", environment=environment).text)
    if found is None or found.program != OPEN_MPI or found.major != 4:
        return found
    components = parse_pmix(ask("ompi_info", "--parsable", environment=environment).output)
    return msgspec.structs.replace(found, pmix=components)


def parse_banner(command: str, output: str) -> HostLauncher | None:
    """The launcher that answers ``--version`` with `output`; None for one that is not known."""
    for program in programs():
        for product, pattern in program.probe.banners if program.probe else ():
            if match := re.search(pattern, output):
                return HostLauncher(command, program, product, match[1])
    return None


def parse_pmix(output: str) -> tuple[str, ...]:
    """Components in the lines ``mca:pmix:NAME:version:…`` of ``ompi_info --parsable``, sorted."""
    return tuple(sorted(set(re.findall(r"^mca:pmix:(\w+):", output, flags=re.MULTILINE))))


def spoken(components: Iterable[str]) -> tuple[str, ...]:
    """What Open MPI 4 speaks to Slurm, by the components of its pmix framework; isolated and flux are neither."""
    known = {"s1": "pmi1", "s2": "pmi2"}
    said = {known.get(name, "pmix" if name.startswith(("ext", "pmix")) else "") for name in components}
    return tuple(sorted(said - {""}))


def _engines() -> dict[str, tuple[str, ...]]:
    """How each engine, and each program that an engine needs for images, tells its version."""
    found = {}
    for name, row in ENGINES.items():
        if row.program:
            found[name] = (row.program, *row.version)
        found |= {tool: (tool, *version) for tool, version in row.images.tools.items() if version}
    return dict(sorted(found.items()))


def _engine(command: tuple[str, ...], environment: Environment) -> str | None:
    """The engine's version, empty when it does not say one; None without the engine."""
    if shutil.which(command[0], path=environment.get("PATH")) is None:
        return None
    reply = ask(*command, environment=environment)
    return "" if reply.error else parse_version(reply.text)


def parse_version(output: str) -> str:
    """The first word that is a version, e.g. of ``podman version 4.3.1``, ``Modules Release 5.2.0 (2022-11-08)``."""
    match = re.search(r"\b\d+\.\d+[\w.+-]*", output)
    return match[0] if match else ""


def _gpus() -> tuple[str, ...]:
    said = ask("nvidia-smi", "--list-gpus")
    if not said.error:
        return parse_gpus(said.output)
    nodes = Path("/sys/class/kfd/kfd/topology/nodes").glob("*/gpu_id")
    return tuple("AMD GPU" for node in nodes if _text(node) not in ("", "0"))


def parse_gpus(output: str) -> tuple[str, ...]:
    """Names in the lines ``GPU 0: NVIDIA H200 (UUID: GPU-…)``."""
    return tuple(re.findall(r"^GPU \d+: (.+?) \(UUID", output, flags=re.MULTILINE))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
