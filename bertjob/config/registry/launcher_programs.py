"""Commands that start ranks: what they are called, how they are found, and how their command lines are read.

The rows of registry.launchers refer to them.
"""

import msgspec

from bertjob.config.job import Family


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """How a program is looked for on a machine.

    Attributes:
        commands: names to ask for ``--version``.
        banners: products that may answer, each with a pattern of its answer; the first group is the version.
    """

    commands: tuple[str, ...]
    banners: tuple[tuple[str, str], ...]


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What overrules a program that binds each rank to a core or a socket.

    Attributes:
        options: of its command line.
        parameter: of its ``-mca``.
        variables: of the environment.
    """

    options: tuple[str, ...]
    parameter: str
    variables: tuple[str, ...]


class AsRoot(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a program start for root that otherwise refuses to.

    Attributes:
        option: of its command line, as people type it.
        variables: of the environment; all must be 1.
    """

    option: str
    variables: tuple[str, ...]


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A command that starts ranks, as it is installed and as people's scripts call it.

    Attributes:
        name: the command.
        title: the command in messages, where its name alone may mean another program.
        aliases: other names, which other programs may have too; lint takes them for this one as well.
        python_modules: its names after ``python -m``.
        family: MPI library that it is part of.
        probe: how to look for it on a machine; None: it comes with the scheduler or with the ranks' Python.
        verbs: words one of which must follow the command, e.g. ``run``.
        valued: options whose value is the next word. Long options of MPI's programs are named with one dash here.
        pairs: options with two values.
        dialect: options that no other program of the same name has.
        grammar: "module:function" that makes a lint.bash.commands.Grammar, where the lists above do not describe the
            command line.
        modules: pattern of the environment modules that bring it; empty: none that are known.
        binding: None: it binds no rank to a core unless it is told to.
        as_root: None: it starts for root like for anybody.
    """

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    python_modules: tuple[str, ...] = ()
    family: Family | None = None
    probe: Probe | None = None
    verbs: tuple[str, ...] = ()
    valued: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()
    dialect: tuple[str, ...] = ()
    grammar: str | None = None
    modules: str = ""
    binding: Binding | None = None
    as_root: AsRoot | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All names that it is called by."""
        return self.name, *self.aliases


SRUN = Program(name="srun", title="srun", grammar="bertjob.lint.bash.commands:srun")
OPEN_MPI_BINDING = Binding(
    options=("-bind-to", "-cpus-per-proc", "-cpus-per-rank", "-rankfile", "-rf"),
    parameter="hwloc_base_binding_policy",
    variables=("OMPI_MCA_HWLOC_BASE_BINDING_POLICY", "PRTE_MCA_HWLOC_DEFAULT_BINDING_POLICY"),
)
OPEN_MPI_AS_ROOT = AsRoot(
    option="--allow-run-as-root", variables=("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
)
OPEN_MPI = Program(
    name="mpirun",
    title="Open MPI's mpirun",
    aliases=("mpiexec", "orterun", "prterun", "prun"),
    family="openmpi",
    probe=Probe(commands=("mpirun", "mpiexec"), banners=(("Open MPI", r"\((?:Open MPI|OpenRTE)\) (\d[\w.]*)"),)),
    valued=(
        *("-n", "-np", "-c", "-N", "-npernode", "-npersocket", "-x", "-H", "-host", "-hostfile", "-machinefile"),
        *("-map-by", "-bind-to", "-rank-by", "-wdir", "-wd", "-path", "-rf", "-rankfile", "-prefix", "-output"),
        *("-output-filename", "-cpus-per-rank", "-cpus-per-proc", "-report-uri", "-stdin", "-tune", "-am", "-app"),
        *("-dvm", "-personality"),
    ),
    pairs=("-mca", "-prtemca", "-pmixmca", "-gmca", "-omca"),
    dialect=("-npernode", "-npersocket", "-mca", "-x", "-map-by", "-bind-to", "-report-bindings"),
    modules="openmpi",
    binding=OPEN_MPI_BINDING,
    as_root=OPEN_MPI_AS_ROOT,
)
HYDRA = Program(
    name="mpiexec.hydra",
    title="mpiexec.hydra",
    aliases=("mpirun", "mpiexec", "mpirun_rsh"),
    family="mpich",
    probe=Probe(
        commands=("mpiexec.hydra",),
        banners=(
            ("Intel MPI", r"Intel\(R\) MPI Library.*Version (\S+)"),
            ("MPICH's or MVAPICH's hydra", r"HYDRA build details:\s+Version:\s+(\S+)"),
        ),
    ),
    valued=(
        *("-n", "-np", "-f", "-hostfile", "-machinefile", "-host", "-hosts", "-ppn", "-perhost", "-iface"),
        *("-bootstrap", "-launcher", "-genvlist", "-envlist", "-rmk", "-bind-to", "-map-by", "-wdir", "-path"),
        *("-prefix", "-configfile", "-ilp64", "-errfile-pattern", "-outfile-pattern"),
    ),
    pairs=("-env", "-genv"),
    dialect=("-ppn", "-perhost", "-genv", "-genvall", "-genvlist", "-iface", "-bootstrap"),
    modules=r"\b(?:mpich|mvapich2?|impi|intel-?mpi|cray-mpich)\b",
)
TORCHRUN = Program(
    name="torchrun",
    title="torchrun",
    python_modules=("torch.distributed.run", "torch.distributed.launch"),
)
DEEPSPEED = Program(name="deepspeed", title="DeepSpeed's launcher", python_modules=("deepspeed.launcher.runner",))
