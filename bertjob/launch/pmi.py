"""Which launchers can start a job's ranks, and why each other one cannot: decided from facts, without asking anybody.

What matters is whether the program calls MPI_Init. If not (torch over NCCL or gloo), anything that starts N processes
will do. If so, the MPI in it must understand whoever started it. Measured with Slurm 22.05.8, Debian's Open MPI 4.1.4,
the PyPI wheels Open MPI 5.0.11 and MPICH 5.0.2 (lone: every process is silently "rank 0 of 1" and exits with 0):

    program       srun none  srun pmi2  srun pmix  Open MPI's mpirun  mpiexec.hydra
    Open MPI 4    aborts     aborts     works      works              lone, and in Slurm aborts
    Open MPI 5    lone       lone       works      works              lone
    MPICH         lone       works      aborts     aborts             works

Open MPI 4 in the table speaks PMIx. It may also speak PMI-1 or PMI-2, or nothing, like that of many images. In
containers of podman PMIx works, PMI-2 does not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, cast

import msgspec

from bertjob.config.job import Family, Launcher, Library, SrunMpi
from bertjob.config.registry.code import load_code
from bertjob.config.registry.launcher_programs import Program
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.launch.engines import ENGINES
from bertjob.launch.schedulers import SCHEDULERS

Outcome = Literal["works", "unknown", "absent", "singletons", "aborts"]
"""`absent`: the launcher itself is not there or does not go with the engine; `singletons`: every process becomes rank
0 of 1 without a word; `unknown`: a fact is missing."""

_SRUN_TYPES: tuple[SrunMpi, ...] = ("none", "pmix", "pmi2")
_NAMES: Mapping[Family, str] = {"openmpi": "Open MPI", "mpich": "MPICH"}


class Facts(msgspec.Struct, frozen=True):
    """What is known of a job and a site.

    Attributes:
        program: the MPI that the ranks link: the image's, or the host's without a container.
        host: the MPI whose mpirun or mpiexec the host has.
        slurm: types that ``srun --mpi=list`` tells; none where that is not known.
        engine: container engine.
        needs_mpi: whether the ranks call MPI_Init.
        scheduler: of the site, `none` for this machine alone.
    """

    program: Library
    host: Library
    slurm: tuple[str, ...]
    engine: str
    needs_mpi: bool
    scheduler: str = "slurm"


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a job under one launcher.

    Attributes:
        launcher: name of the launcher, as in a job.
        srun_mpi: what srun offers the ranks; None where another launcher starts them.
        outcome: what happens.
        reason: why, in one line; for what does not work also the remedy where there is one.
    """

    launcher: Launcher
    srun_mpi: SrunMpi | None
    outcome: Outcome
    reason: str

    @property
    def works(self) -> bool:
        """Whether the ranks start as planned."""
        return self.outcome == "works"

    def __str__(self) -> str:
        option = f" --mpi={self.srun_mpi}" if self.srun_mpi else ""
        return f"{self.launcher}{option}: {self.reason}"


Predict = Callable[[Facts, Launcher], Iterable[Verdict]]
"""What a launcher's row names: the verdicts on it, one for each kind of PMI that it can be told to offer."""


def verdicts(facts: Facts) -> tuple[Verdict, ...]:
    """A verdict on each launcher: those that work, best first; then where a fact is missing; then the others."""
    order = ("works", "unknown")
    rows = sorted(LAUNCHERS.items(), key=lambda item: item[1].preference)
    here = [(launcher, row) for launcher, row in rows if row.works_under(facts.scheduler)]
    found = [one for launcher, row in here for one in cast("Predict", load_code(row.predict))(facts, launcher)]
    return tuple(sorted(found, key=lambda one: order.index(one.outcome) if one.outcome in order else len(order)))


def speaks(library: Library) -> tuple[str, ...]:
    """What a library speaks to whoever starts its ranks: what is said, or else what its kind always has."""
    if library.pmi or library.family is None:
        return library.pmi
    if library.family == "mpich":
        return ("pmi1", "pmi2")
    return () if _is_open_mpi_4(library) else ("pmix",)


def name(library: Library) -> str:
    """E.g. ``Open MPI 4.1.4``."""
    assert library.family is not None
    return " ".join(filter(None, (_NAMES[library.family], library.version)))


def local(facts: Facts, launcher: Launcher) -> Iterator[Verdict]:
    """Prediction for ranks that the job script starts as plain processes."""
    if facts.needs_mpi:
        yield Verdict(launcher, None, "singletons", "plain processes, each of which MPI takes for rank 0 of 1")
    else:
        yield Verdict(launcher, None, "works", "plain processes, and the ranks need no MPI")


def srun(facts: Facts, launcher: Launcher) -> Iterator[Verdict]:
    """Prediction for srun, with each PMI that it may offer."""
    return (Verdict(launcher, kind, *_srun(facts, kind)) for kind in _SRUN_TYPES)


def mpirun(facts: Facts, launcher: Launcher) -> Iterator[Verdict]:
    """Prediction for the mpirun or mpiexec of an MPI library of the host."""
    program = LAUNCHERS[launcher].program
    assert program is not None
    yield Verdict(launcher, None, *_mpirun(facts, program))


def agents(facts: Facts, launcher: Launcher) -> Iterator[Verdict]:
    """Prediction for ranks that are children of one agent per node."""
    if facts.needs_mpi:
        yield Verdict(launcher, None, *_without_pmi(facts.program, "it tells MPI nothing"))
    else:
        yield Verdict(launcher, None, "works", "one agent a node starts the ranks, which need no MPI")


def _srun(facts: Facts, kind: SrunMpi) -> tuple[Outcome, str]:
    """What becomes of a job under ``srun --mpi=KIND``."""
    if kind != "none" and facts.slurm and not offers(facts.slurm, kind):
        return "absent", f"Slurm has no {kind} here, only {', '.join(facts.slurm)} (srun --mpi=list)"
    if not facts.needs_mpi:
        if kind == "none":
            return "works", "the ranks need no MPI: they talk by NCCL or gloo"
        if not facts.slurm:
            return "unknown", f"whether Slurm has {kind} is not said (site key mpi.slurm; srun --mpi=list tells)"
        return "works", f"the ranks need no MPI, and {kind} does them no harm"
    program = facts.program
    if kind == "none":
        return _without_pmi(program, "it tells MPI nothing")
    if program.family is None:
        return (
            "unknown",
            "which MPI the ranks link is not said (image.mpi, or the site's mpi.family without a container)",
        )
    if kind in speaks(program):
        if not facts.slurm:
            return "unknown", f"whether Slurm has {kind} is not said (site key mpi.slurm; srun --mpi=list tells)"
        if kind == "pmi2" and not ENGINES[facts.engine].passes_open_files:
            return "aborts", f"{facts.engine} closes the file over which {name(program)} speaks pmi2 with srun"
        return "works", f"{name(program)} speaks {kind}, and Slurm has it"
    spoken = " and ".join(speaks(program)) or "no PMI that is known (image.mpi.pmi)"
    if program.family == "mpich" and kind == "pmix":
        return "aborts", f"{name(program)} speaks {spoken}, and ends with 'unsupported PMI version PMIx'"
    return _without_pmi(program, f"{name(program)} speaks {spoken}, not {kind}")


def _without_pmi(program: Library, why: str) -> tuple[Outcome, str]:
    """A process in a step of srun whose MPI hears nothing that it understands."""
    if program.family is None:
        return "singletons", f"{why}: each rank becomes rank 0 of 1, or MPI_Init aborts"
    if _is_open_mpi_4(program):
        return "aborts", f"{why}: MPI_Init aborts with 'not built with SLURM's PMI support'"
    return "singletons", f"{why}: every process is silently rank 0 of 1"


def _mpirun(facts: Facts, program: Program) -> tuple[Outcome, str]:
    """What becomes of a job under mpirun or mpiexec of the host."""
    family, command = program.family, program.name
    assert family is not None
    if ENGINES[facts.engine].started_by_srun:
        return "absent", f"{facts.engine} starts containers by srun, and {command} would be outside of them"
    if facts.host.family not in (None, family):
        return "absent", f"the host has {name(facts.host)}, which has no {command} of {_NAMES[family]}'s kind"
    if facts.needs_mpi and facts.program.family is None:
        return (
            "unknown",
            "which MPI the ranks link is not said (image.mpi, or the site's mpi.family without a container)",
        )
    if facts.needs_mpi and facts.program.family != family:
        return _foreign(facts, family)
    if facts.needs_mpi and family == "mpich" and not ENGINES[facts.engine].passes_open_files:
        return "aborts", f"{facts.engine} closes the file over which {name(facts.program)} speaks with hydra"
    if facts.host.family is None:
        return "unknown", f"whether the host has {_NAMES[family]}'s {command} is not said (site key mpi.family)"
    if not facts.needs_mpi:
        return "works", f"{name(facts.host)} on the host starts the ranks, which need no MPI"
    return "works", f"{name(facts.host)} on the host starts {name(facts.program)}: the same family"


def _foreign(facts: Facts, family: Family) -> tuple[Outcome, str]:
    """An mpirun of one family around the library of another one."""
    if family == "openmpi":
        return "aborts", f"{name(facts.program)} ends with 'unsupported PMI version PMIx' under Open MPI's mpirun"
    if _is_open_mpi_4(facts.program) and SCHEDULERS[facts.scheduler].has_srun:
        return "aborts", f"hydra starts its daemons by srun, and {name(facts.program)} does not speak hydra's PMI"
    return "singletons", f"{name(facts.program)} does not speak hydra's PMI: every process is silently rank 0 of 1"


def offers(types: tuple[str, ...], kind: str) -> bool:
    """Whether a list of Slurm's types has `kind`: ``pmix_v4`` is a ``pmix``."""
    return any(offered == kind or offered.startswith(f"{kind}_") for offered in types)


def _is_open_mpi_4(library: Library) -> bool:
    """Whether a library is Open MPI before 5; one without a version is taken for it, the commoner and stricter case."""
    if library.family != "openmpi":
        return False
    major = (library.version or "4").partition(".")[0]
    return not major.isdecimal() or int(major) < 5
