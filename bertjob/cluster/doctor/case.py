"""What doctor judges: a job at a site, and all that was asked of this machine."""

from collections.abc import Mapping

import msgspec

from bertjob.cluster.doctor.proofs import BadNode, Proved
from bertjob.cluster.doctor.typed import Typed
from bertjob.cluster.host import Machine
from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.plan import Plan
from bertjob.rundir.image_contents import ImageFacts


class Image(msgspec.Struct, frozen=True):
    """The container image as it was found; an `error` says why nothing is known of what it holds."""

    ref: str
    digest: str = ""
    facts: ImageFacts | None = None
    error: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Facts; the checks are functions of it alone.

    Attributes:
        job: the job, whole: engine, launcher and resources are said.
        site: where it is to run.
        machine: what was asked here.
        typed: what the user said of the launch, for commands that say it again.
        named: whether the user named the job, so that its data matter.
        plan: how it would start; None where it cannot.
        refusal: why there is no plan.
        problems: what is wrong with the files that the job needs, by key; empty for one that is there.
        image: the image; None without a container, or where it was not looked at.
        root_refused: Open MPI's mpirun will not start, as the user is root and nothing says that this is meant.
        proof: the newest launch proof of this combination.
        bad_nodes: nodes that failed a proof not long ago.
    """

    job: Job
    site: Site
    machine: Machine
    typed: Typed
    named: bool = False
    plan: Plan | None = None
    refusal: str = ""
    problems: Mapping[str, str] = {}
    image: Image | None = None
    root_refused: bool = False
    proof: Proved | None = None
    bad_nodes: tuple[BadNode, ...] = ()

    @property
    def slurm(self) -> bool:
        """Whether a scheduler starts the job."""
        return self.site.scheduler == "slurm"

    @property
    def engine(self) -> str:
        """Container engine."""
        return self.job.engine or self.site.engine

    @property
    def launcher(self) -> str:
        """What starts the ranks."""
        return self.job.launcher or self.site.launcher
