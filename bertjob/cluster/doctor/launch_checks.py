"""Checks of what starts the ranks: modules, the host's mpirun, the PMI between Slurm and the program's MPI."""

from collections.abc import Iterator

from msgspec.structs import replace

from bertjob.cluster.doctor.case import Case, Finding, fail, ok, warn
from bertjob.cluster.host.programs import HostLauncher
from bertjob.config.job import Launcher, Library
from bertjob.config.registry.launcher_programs import OPEN_MPI, Program
from bertjob.config.registry.launchers import LAUNCHERS, family_of
from bertjob.errors import PreflightError
from bertjob.launch import pmi
from bertjob.launch.auto_launcher import choose, host_library
from bertjob.launch.pmi import Verdict

ASIDE = "otherwise"
"""The check that tells of launchers which the job does not use: neither good nor bad, so never more than `ok`."""


def modules(case: Case) -> Iterator[Finding]:
    """Whether the site's modules can be loaded."""
    wanted, error = case.site.modules, case.machine.programs.modules_error
    if error:
        loads = case.machine.programs.modules or not wanted
        remedy = (
            "change the site file"
            if loads
            else "no `module` here: a login node, or `login_shell: true` in the site file"
        )
        yield fail("modules", f"{' '.join(wanted) or 'the setup lines'}: {error}", remedy)
    elif wanted:
        yield ok("modules", f"{', '.join(wanted)} can be loaded")


def host_launcher(case: Case) -> Iterator[Finding]:
    """The mpirun, mpiexec or the like of the host, and whether it is the one that the site file means."""
    found, program = case.machine.programs, _program(case.launcher)
    fitting = [one for one in found.launchers if one.program == program] if program else found.mpi
    check = "host MPI" if program is None or program.family else program.name
    if program and not fitting:
        yield fail(check, f"launcher {case.launcher} needs {program.title}, which is not here", _bring(case))
    elif program == OPEN_MPI and fitting[0].major != case.site.mpi.version:
        said = f"{_described(fitting[0])}, and the site file says version {case.site.mpi.version}"
        yield fail(check, said, f"`mpi: {{version: {fitting[0].major}}}` in the site file")
    elif fitting:
        yield ok(check, _described(fitting[0]))
    else:
        yield ok(check, "none, and none is needed")


def launchers(case: Case) -> Iterator[Finding]:
    """What would become of the job under each launcher."""
    verdicts = _verdicts(case)
    chosen = next((verdict for verdict in verdicts if _is_chosen(case, verdict)), None)
    if chosen is not None:
        yield _judged(case, chosen, next((verdict for verdict in verdicts if verdict.works), None))
    if others := [_named(verdict) for verdict in verdicts if verdict.works and verdict is not chosen]:
        yield ok(ASIDE, f"{', '.join(others)}: would work as well")
    for verdict in verdicts:
        if not verdict.works and verdict is not chosen:
            yield ok(ASIDE, _outcome(verdict))


def root(case: Case) -> Iterator[Finding]:
    """Whether the launcher's program starts anything for this user."""
    program = _program(case.launcher)
    if case.root_refused and program and program.as_root:
        allowed = ", ".join(f"{name}: 1" for name in program.as_root.variables)
        refusal = f"launcher {case.launcher}: {program.title} refuses to run as root"
        yield warn("root", refusal, f"another user, or `env: {{{allowed}}}` in the site file")


def unsaid(case: Case) -> str:
    """What the files should say where `auto` cannot choose for want of it, and it was found in the image."""
    found = _in_image(case)
    if case.launcher != "auto" or case.job.image.mpi.family is not None or not case.job.mpi or found.family is None:
        return ""
    keys = {"family": found.family, "version": found.version, "pmi": f"[{', '.join(found.pmi)}]" if found.pmi else ""}
    said = f"say image.mpi: {{{', '.join(f'{key}: {value}' for key, value in keys.items() if value)}}}"
    try:
        launcher, kind = choose(replace(case.job, image=replace(case.job.image, mpi=found)), case.site)
    except PreflightError as error:
        return f"{said}; then still {error}"
    return f"{said}: {_words(launcher, kind)} then works"


def facts(case: Case) -> pmi.Facts:
    """What launch/pmi decides from: what was found here, and where nothing was found, what the files say."""
    slurm, program = case.machine.scheduler.mpi_types, case.job.image.mpi
    host = _host(case)
    if case.engine == "none":
        program = host
    elif _in_image(case).family:
        program = _in_image(case)
    return pmi.Facts(
        program=program,
        host=host,
        slurm=slurm or case.site.mpi.slurm,
        engine=case.engine,
        needs_mpi=case.job.mpi,
        scheduler=case.site.scheduler,
    )


def _in_image(case: Case) -> Library:
    """The MPI that was seen in the image; no family where there is none, or where nobody could look."""
    return case.image.facts.mpi if case.image is not None and case.image.facts is not None else Library()


def _verdicts(case: Case) -> tuple[Verdict, ...]:
    """Those of launch/pmi, which believes the site file; but a command that is not here starts nothing."""
    here = {found.program for found in case.machine.programs.launchers}

    def seen(verdict: Verdict) -> Verdict:
        program = _program(verdict.launcher)
        if program is None or program in here or verdict.outcome == "absent":
            return verdict
        return replace(verdict, outcome="absent", reason=f"{program.title} was not found")

    return tuple(map(seen, pmi.verdicts(facts(case))))


def _host(case: Case) -> Library:
    """The host's MPI: of the family that the launcher needs, if there are several."""
    family = family_of(case.launcher) or case.site.mpi.family
    found = [mpi.library for mpi in case.machine.programs.mpi]
    of_files = host_library(case.site, case.site.mpi.family)
    return next((library for library in found if family in (None, library.family)), of_files)


def _program(launcher: Launcher) -> Program | None:
    """The program of a launcher if it is looked for on this machine."""
    row = LAUNCHERS.get(launcher)
    return row.program if row and row.program and row.program.probe else None


def _is_chosen(case: Case, verdict: Verdict) -> bool:
    if verdict.launcher != case.launcher:
        return False
    return verdict.srun_mpi in (None, case.job.srun_mpi or case.site.mpi.srun or "none")


def _judged(case: Case, chosen: Verdict, best: Verdict | None) -> Finding:
    if chosen.works:
        return ok("launcher", _outcome(chosen))
    unknown = chosen.outcome == "unknown"
    if best:
        instead = f"launcher {_named(best)}: {best.reason}"
    else:
        instead = _to_learn(case) if unknown else "no launcher fits: an image with another MPI, or another engine"
    return (warn if unknown else fail)("launcher", _outcome(chosen), instead)


def _to_learn(case: Case) -> str:
    """How to know what is not known: which MPI is in the image, or else what Slurm and the host have."""
    if case.engine == "none" or facts(case).program.family is not None:
        return "say it in the site file"
    if case.image is not None and case.image.facts is not None:
        return "an image with an MPI: there is none in this one"
    return f"`{case.typed.to_check(case.job.image.ref or 'IMAGE')}` tells: say it as image.mpi"


def _outcome(verdict: Verdict) -> str:
    words = {"singletons": "silent singletons", "absent": "not here"}
    return f"{_named(verdict)} {words.get(verdict.outcome, verdict.outcome)}: {verdict.reason}"


def _named(verdict: Verdict) -> str:
    return _words(verdict.launcher, verdict.srun_mpi)


def _words(launcher: str, srun_mpi: str | None) -> str:
    return f"{launcher} --mpi={srun_mpi}" if srun_mpi else launcher


def _described(found: HostLauncher) -> str:
    spoken = f", speaks {' and '.join(found.library.pmi)} to Slurm" if found.library.pmi else ""
    return f"{found.command} is {found.product} {found.version}{spoken}"


def _bring(case: Case) -> str:
    if not case.scheduler.queues:
        return "install it"
    return f"name its module in the site file (`modules: […]`), or take launcher {case.scheduler.launcher}"
