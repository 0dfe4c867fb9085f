"""What submit says and does because of launch proofs: nodes to leave out, and a word where nothing was proved."""

import msgspec

from bertjob.cluster import images, proofs
from bertjob.cluster.probe import scheduler
from bertjob.cluster.proofs import BadNode, Combination
from bertjob.launch.plan import Plan


class Advice(msgspec.Struct, frozen=True):
    """What is known of a plan's combination beforehand.

    Attributes:
        leave_out: nodes that failed a proof.
        proved: whether a launch was proved with it.
        combination: what the plan starts with.
    """

    leave_out: tuple[BadNode, ...]
    proved: bool
    combination: Combination

    @property
    def options(self) -> tuple[str, ...]:
        """For sbatch."""
        return (f"--exclude={','.join(node.name for node in self.leave_out)}",) if self.leave_out else ()

    @property
    def lines(self) -> list[str]:
        """For people; at most two."""
        said = []
        if self.leave_out:
            names = ", ".join(f"{node.name} ({node.reason})" for node in self.leave_out)
            said.append(f"left out: {names}; repaired: bertjob doctor --forget --site {self.combination.site}")
        if not self.proved:
            how = f"bertjob doctor --prove --nodes 2 --site {self.combination.site}"
            said.append(f"no launch was proved yet by {self.combination}: {how}")
        return said


def advise(plan: Plan) -> Advice:
    """Advice on a plan, by the user's own file of proofs."""
    version = scheduler.version() if plan.site.scheduler == "slurm" else ""
    about = combination(plan, version, image_of(plan))
    book = proofs.read()
    return Advice(book.bad(about.site, about.engine), book.proof(about) is not None, about)


def combination(plan: Plan, slurm_version: str, image: str) -> Combination:
    """What a proof of this plan would be about.

    Args:
        plan: how the ranks start.
        slurm_version: empty without Slurm.
        image: as `image_of` tells.
    """
    kind = plan.job.srun_mpi if plan.shape.launcher == "srun" else None
    launcher = plan.shape.launcher if kind in (None, "none") else f"srun --mpi={kind}"
    return Combination(plan.site.name, slurm_version, plan.engine, image, launcher)


def image_of(plan: Plan) -> str:
    """The digest of the plan's image; its name where nobody can tell the digest; empty without a container."""
    if plan.engine == "none" or plan.image is None:
        return ""
    return images.digest(plan.engine, plan.image, plan.site) or plan.image
