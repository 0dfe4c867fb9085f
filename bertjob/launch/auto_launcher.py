"""The launcher of a job: the one that is said, or by ``auto`` the best that works by the MPI of image, host and Slurm.

Decided from the files of job and site alone: a dry run asks no scheduler.
"""

from collections.abc import Sequence

from bertjob.config.checks import compression
from bertjob.config.job import Family, Job, Launcher, Library, SrunMpi
from bertjob.config.registry.launchers import family_of
from bertjob.config.site import Site
from bertjob.errors import PreflightError
from bertjob.launch.pmi import Facts, Verdict, verdicts

_FAILING = ("aborts", "singletons", "absent")


def facts(job: Job, site: Site) -> Facts:
    """What is known of a job whose engine and image are said, and of a site.

    A site that says no ``mpi.family`` but has mpirun or hydra for its launcher has said it by that. Where it has not,
    and `auto` is to start ranks whose compressed steps go by MPI, the job's ``cuda_aware`` tells.
    """
    family = compression.assumed_family(job, site) if _is_taken(job, site) else host_family(site)
    host = host_library(site, family)
    return Facts(
        program=host if job.engine == "none" else job.image.mpi,
        host=host,
        slurm=site.mpi.slurm,
        engine=job.engine or site.engine,
        needs_mpi=job.mpi,
        scheduler=site.scheduler,
    )


def host_family(site: Site) -> Family | None:
    """The host's MPI as far as the site says it."""
    return site.mpi.family or family_of(site.launcher)


def host_library(site: Site, family: Family | None) -> Library:
    """The host's MPI of a family, with what the site says of it."""
    return Library(family=family, version=str(site.mpi.version) if family == "openmpi" else None, pmi=site.mpi.pmi)


def choose(job: Job, site: Site) -> tuple[Launcher, SrunMpi | None]:
    """The launcher of a job whose engine and image are said, and what srun offers the ranks if it is srun.

    Raises:
        PreflightError: `auto`, and no launcher is known to work; says why each one does not.
    """
    asked = job.launcher or site.launcher
    candidates = _candidates(job, site, asked)
    best = candidates[0] if candidates else None
    if best is None or (asked != "auto" and best.srun_mpi is None):
        return asked, None  # where it cannot work, srun without Slurm among them, the checks say so
    if asked == "auto":
        if best.outcome == "unknown":
            tells = "; `bertjob image check` tells" if _image_is_unsaid(job) else ""
            raise PreflightError(f"site {site.name}: launcher auto cannot choose: {best.reason}{tells}")
        if not best.works:
            raise PreflightError(
                f"site {site.name}: launcher auto finds none that works: {'; '.join(map(str, candidates))}"
            )
        return best.launcher, best.srun_mpi
    guessed = best.outcome == "unknown" and facts(job, site).program.family is not None
    said = job.srun_mpi or site.mpi.srun
    return asked, said or (best.srun_mpi if best.works or guessed else "none")


def explanation(job: Job, site: Site) -> str:
    """Why ``auto`` chose what it chose and, for jobs with MPI, why not the others; a line each."""
    best, *others = _candidates(job, site, "auto")
    taken = []
    if _is_taken(job, site):
        name = {"mpich": "MVAPICH", "openmpi": "Open MPI"}[compression.assumed_family(job, site)]
        buffers = "true" if job.optimizer.onebit.cuda_aware else "false"
        taken = [f"The site does not name its MPI (mpi.family): cuda_aware {buffers} takes it for {name}."]
    why_not = [f"Not {verdict}." for verdict in others if not verdict.works] if job.mpi else []
    return "\n".join([f"Launcher auto takes {best}.", *taken, *why_not])


def refusal(job: Job, site: Site, ranks: int) -> str | None:
    """Why a resolved job's launcher certainly cannot start it, with the remedy; None where it may."""
    everything = verdicts(facts(job, site))
    own = next((one for one in everything if (one.launcher, one.srun_mpi) == (job.launcher, job.srun_mpi)), None)
    alone = ranks == 1 and own is not None and own.outcome == "singletons"
    if own is None or own.outcome not in _FAILING or alone:
        return None
    best = everything[0]
    working = f"{best.launcher}{f' and srun_mpi: {best.srun_mpi}' if best.srun_mpi else ''}"
    remedy = f"use launcher: {working}" if best.works else f"none is known to work: {best.reason}"
    return f"launcher {own}; {remedy}"


def _is_taken(job: Job, site: Site) -> bool:
    """Whether the host's MPI is concluded from the job's ``cuda_aware``."""
    return host_family(site) is None and (job.launcher or site.launcher) == "auto" and compression.by_mpi(job)


def _image_is_unsaid(job: Job) -> bool:
    """Whether all depends on an MPI in an image of which no file tells."""
    return job.mpi and job.engine != "none" and job.image.mpi.family is None


def _candidates(job: Job, site: Site, asked: str) -> Sequence[Verdict]:
    """Verdicts on the launchers that may be taken, best first."""
    kind = job.srun_mpi or site.mpi.srun
    return [
        verdict
        for verdict in verdicts(facts(job, site))
        if asked in ("auto", verdict.launcher) and (kind is None or verdict.srun_mpi in (None, kind))
    ]
