"""Rules about launchers and engines."""

import re
from collections.abc import Collection, Iterator

from bertjob.config.registry.launcher_programs import (
    DEEPSPEED,
    HYDRA,
    OPEN_MPI,
    OPEN_MPI_AS_ROOT,
    OPEN_MPI_BINDING,
    TORCHRUN,
    Program,
)
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.command_line import CommandLine, Role
from bertjob.lint.bash.commands import Layer, Option, mpiruns
from bertjob.lint.bash.sbatch_script import Expansion, Script, Word
from bertjob.lint.rules.finding import Found
from bertjob.lint.steps import Start, each, inside, layered, modules, nodes, settings, starts, tasks

_COUNTS = ("-n", "-np", "-c", "-N", "-npernode", "-npersocket", "-ppn", "-perhost", "-app", "-configfile")
_HOSTS = ("-hostfile", "-machinefile", "-f", "-H", "-host", "-hosts")
_NNODES = re.compile(r"--nnodes[= ](\d{1,6}|\$)")
"""Its value or, of ``2:4``, the least of them."""


def cpus_per_task(script: Script) -> Iterator[Found]:
    """CPUs that were asked for and that srun does not take."""
    asked = script.option("cpus-per-task")
    if asked is None or asked.value == "1" or any(name == "SRUN_CPUS_PER_TASK" for name, _, _ in settings(script)):
        return
    for start in starts(script):
        srun = start.srun
        if srun and not start.small and not srun.opaque and not srun.has("--cpus-per-task"):
            yield Found(start.line, f"since Slurm 22.05 srun does not take --cpus-per-task={asked.value} from sbatch")


def kill_on_bad_exit(script: Script) -> Iterator[Found]:
    """Ranks that wait for ever for a dead one."""
    if tasks(script) == 1 or any(name == "SLURM_KILL_BAD_EXIT" for name, _, _ in settings(script)):
        return
    for start in starts(script):
        srun = start.srun
        one = srun is not None and srun.value("--ntasks") == "1"
        if srun and start.trains and not one and not srun.opaque and not srun.has("--kill-on-bad-exit"):
            yield Found(start.line, "when one rank dies, its peers wait for it until the time limit")


def srun_open_mpi(script: Script) -> Iterator[Found]:
    """What is probably an Open MPI program, started by srun without PMIx."""
    if any(name == "SLURM_MPI_TYPE" and value.startswith("pmix") for name, value, _ in settings(script)):
        return
    module = _loads(script, OPEN_MPI)
    for start in starts(script):
        srun = start.srun
        if srun is None or start.mpirun or start.small or srun.opaque:
            continue
        kind = srun.value("--mpi")
        if (kind or "").startswith(("pmix", "list", "$")):
            continue
        why = _open_mpi(start, module, chosen=kind is not None)
        if why:
            used = f"--mpi={kind}" if kind else "the site's default PMI"
            yield Found(
                start.line, f"{why}: by srun with {used} its MPI_Init aborts, or each rank is alone in its world"
            )


def mpirun_in_step(script: Script) -> Iterator[Found]:
    """A call of mpirun where Slurm has already started the ranks."""
    for start in starts(script):
        srun = start.srun
        if srun is None or srun.has("--overlap"):
            continue
        lines = [start.line] if start.mpirun else []
        lines += [inner.line for part in inside(start) for inner in starts(part) if inner.mpirun]
        for line in lines:
            yield Found(line, "mpirun inside an srun step waits for ever for the CPUs that the step holds")


def mpirun_without_n(script: Script) -> Iterator[Found]:
    """A count that is left to mpirun."""
    for start in starts(script):
        mpirun = start.mpirun
        mapped = mpirun is not None and "ppr" in (mpirun.value("-map-by") or "")
        if mpirun and not mpirun.opaque and not mapped and not mpirun.has(*_COUNTS, *_HOSTS):
            yield Found(start.line, f"how many ranks {mpirun.name} starts is left to it: by CPUs, or on one node only")


def mpirun_binding(script: Script) -> Iterator[Found]:
    """Threads of a rank on the one core that Open MPI gives it.

    Its defaults (mpirun(1), "Mapping, Ranking, and Binding"): a core where one or two ranks start, else a socket.
    """
    asked = script.option("cpus-per-task")
    bound = any(name.upper() in OPEN_MPI_BINDING.variables for name, _, _ in settings(script))
    if asked is None or asked.value == "1" or bound:
        return
    ranks, hosts = tasks(script) or 1, nodes(script) or 1
    if ranks > max(2, hosts):  # several on a node share its sockets, which is what they would do anyway
        return
    where = "one core" if ranks <= 2 else "one socket of its node"
    module = _loads(script, OPEN_MPI)
    for start in starts(script):
        mpirun = start.mpirun
        if mpirun is None or mpirun.opaque or start.small:
            continue
        of_open_mpi = module or mpirun.has(*OPEN_MPI.dialect)
        placed = "pe=" in (mpirun.value("-map-by") or "").lower() or mpirun.has(*OPEN_MPI_BINDING.options)
        if of_open_mpi and not placed and OPEN_MPI_BINDING.parameter not in (mpirun.value("-mca") or ""):
            yield Found(start.line, f"Open MPI binds a rank to {where}, whatever --cpus-per-task={asked.value} says")


def mpirun_dialect(script: Script) -> Iterator[Found]:
    """Options of the other family of MPI."""
    open_mpi_loaded, hydra_loaded = _loads(script, OPEN_MPI), _loads(script, HYDRA)
    for start in layered(script):
        mpirun = start.mpirun
        if mpirun is None:
            continue
        names = {option.name for option in mpirun.options}
        of_open_mpi, of_hydra = sorted(names.intersection(OPEN_MPI.dialect)), sorted(names.intersection(HYDRA.dialect))
        hydra = mpirun.name == HYDRA.name or hydra_loaded
        if of_hydra and (open_mpi_loaded or of_open_mpi):
            yield Found(
                start.line, f"{of_hydra[0]} is an option of MPICH's mpiexec; Open MPI's mpirun has none of the name"
            )
        elif of_open_mpi and hydra:
            yield Found(
                start.line, f"{of_open_mpi[0]} is an option of Open MPI's mpirun; the mpiexec of MPICH has none"
            )


def mpirun_as_root(script: Script) -> Iterator[Found]:
    """Open MPI refuses root."""
    set_names = {name: line for part in script.everything() for name, _, line in settings(part)}
    allowed, confirmed = OPEN_MPI_AS_ROOT.variables
    if (allowed in set_names) != (confirmed in set_names):
        line = set_names.get(allowed, set_names.get(confirmed, 1))
        yield Found(line, f"Open MPI refuses to run as root unless both {allowed} and {confirmed} are 1")
    for start in layered(script):
        engine = next((layer for layer in start.engines if ENGINES[layer.engine].untold.root), None)
        if engine is None or any(_with_role(engine, "user")) or confirmed in set_names:
            continue
        inner = [start.layers[start.layers.index(engine) :]]
        inner += [other.layers for part in inside(start) for other in starts(part)]
        runs = [layer for layers in inner for layer in layers if layer.name in mpiruns()]
        if runs and not runs[0].has(OPEN_MPI_AS_ROOT.option.removeprefix("-")):  # Layer knows long ones by one dash
            yield Found(
                start.line, f"{engine.name} runs as root inside where the image names no user: mpirun refuses that"
            )


def deepspeed_launcher(script: Script) -> Iterator[Found]:
    """DeepSpeed's own launcher over several nodes."""
    for part in script.everything():
        for command in part.named(DEEPSPEED.name):
            hostfile = any(word.startswith(("--hostfile", "-H")) for word in command.arguments)
            if hostfile or (nodes(script) or 1) > 1:
                yield Found(command.line, "DeepSpeed's launcher reaches other nodes by ssh and guesses their network")


def torchrun_on_one_node(script: Script) -> Iterator[Found]:
    """A torchrun that waits for nodes where nobody starts it."""
    if not script.directives:  # it may itself be what srun starts on each node
        return
    for start in _alone(script):
        wanted = _nodes_wanted(start.program, nodes(script) or 1)
        if wanted > 1 and not (start.command.place.function or start.command.place.substituted):
            yield Found(start.line, f"torchrun waits for {wanted} nodes, and the batch shell is on the first one only")


def tty_in_batch(script: Script) -> Iterator[Found]:
    """A terminal where there is none, or for one rank alone."""
    if not script.directives:
        return
    for start in layered(script):
        for engine in start.engines if not _gives_terminal(start) else ():
            if any(_with_role(engine, "tty")):
                what = _command_line(engine).tty_in_batch
                yield Found(start.line, f"a batch job has no terminal: {engine.name} {what}")
        srun = start.srun
        if srun and srun.has("--pty") and _tasks_of(srun, script) > 1:
            yield Found(
                start.line,
                "srun --pty gives rank 0 alone a terminal, and what the others print goes to /dev/null (man srun)",
            )


def _tasks_of(srun: Layer, script: Script) -> int:
    said = srun.value("-n", "--ntasks")
    return int(said) if said and said.isdecimal() else tasks(script) or 1


def _gives_terminal(start: Start) -> bool:
    """Whether what starts the engine makes a terminal of its own, also in a batch job.

    Measured: Open MPI's mpirun 4.1 does, unless ``--mca orte_io_nopty 1`` forbids it, and so does ``srun --pty``.
    """
    launcher = start.launcher
    if launcher is None:
        return False
    if launcher.name in OPEN_MPI.names:
        return not any("orte_io_nopty" in word for word in start.command.arguments)
    return launcher.has("--pty")


def mount_source(script: Script) -> Iterator[Found]:
    """Mounts that the engine cannot make, where its own fields of a mount are known."""
    for start in layered(script):
        for engine in start.engines:
            known = _command_line(engine).mount_fields
            for mount in _mounts(engine) if known else ():
                yield from (Found(start.line, reason) for reason in _wrong(mount, known, engine))


def _loads(script: Script, program: Program) -> bool:
    """Whether an environment module that brings a program is loaded."""
    return bool(program.modules) and re.search(program.modules, modules(script)) is not None


def _alone(script: Script) -> Iterator[Start]:
    """What runs in the batch shell, not in a step; in shells and containers that it starts as well."""
    for start in each(script):
        if start.launcher is None:
            yield start
            for part in start.command.inside:
                yield from _alone(part)


def _nodes_wanted(program: tuple[Word, ...], of_the_job: int) -> int:
    """The nodes that torchrun waits for; a variable among its options is taken for those of the job."""
    words = [word.value for word in program]
    if not words:
        return 0
    named = words[0].rpartition("/")[2] in TORCHRUN.names
    if not named and not set(words[:4]).intersection(TORCHRUN.python_modules):
        return 0
    said = _NNODES.search(" ".join(words))
    if said is None:
        return 1
    return int(said[1]) if said[1].isdecimal() else of_the_job


def _command_line(engine: Layer) -> CommandLine:
    cli = ENGINES[engine.engine].cli
    assert cli is not None
    return cli


def _with_role(engine: Layer, role: Role) -> Iterator[Option]:
    roles = _command_line(engine).roles
    return (option for option in engine.options if roles.get(option.name) == role)


def _mounts(engine: Layer) -> Iterator[list[str]]:
    for option in _with_role(engine, "mount"):
        if option.value is not None:
            parts = option.value.parts
            yield "".join("$" if isinstance(part, Expansion) else part for part in parts).split(",")


def _wrong(mount: list[str], known: Collection[str], engine: Layer) -> Iterator[str]:
    unknown = [field for field in mount if field.partition("=")[0] not in known]
    if unknown:
        yield f"{engine.name} reads {unknown[0]!r} as a field of --mount: a comma ends a path there"
    for source in (field.partition("=")[2] for field in mount if field.startswith(("source=", "src="))):
        if not source.startswith(("/", "$")):
            yield f"{engine.name} mounts absolute paths only; the source is {source!r}"


def _open_mpi(start: Start, module: bool, chosen: bool) -> str | None:
    """What tells that a program is one of Open MPI; an image alone does not where a person has chosen the PMI."""
    if module:
        return "with the module of Open MPI loaded this may be one of its programs"
    words = [word.value for word in start.program]
    words += [word.value for part in inside(start) for command in part.commands for word in command.words]
    if any("mpi4py" in word for word in words):
        return "mpi4py calls MPI_Init, and most images hold Open MPI"
    images = [operand.value for layer in start.engines for operand in layer.operands]
    if not chosen and any("nvcr.io/nvidia/" in image for image in images):
        return "NVIDIA's images hold an Open MPI without Slurm's PMI"
    return None
