"""What submit says and does because of launch proofs: nodes to leave out, and a word where nothing was proved."""

from collections.abc import Sequence

from msgspec.structs import replace

from bertjob.cluster.doctor import proofs
from bertjob.cluster.doctor.case import Typed
from bertjob.cluster.doctor.proofs import BadNode, Combination
from bertjob.cluster.images.seen import recall
from bertjob.cluster.scheduler import CLIENTS
from bertjob.launch.plan import Plan


def left_out(plan: Plan) -> tuple[BadNode, ...]:
    """Nodes that a plan should do without; none where the user names the nodes. Asks nobody, so dry runs may."""
    if plan.scheduler.names_nodes(plan.options):
        return ()
    return proofs.read().bad(plan.site.name, plan.engine)


def without(plan: Plan, nodes: Sequence[BadNode]) -> Plan:
    """The same plan with an option that leaves nodes out."""
    if not nodes:
        return plan
    excluding = plan.scheduler.excluding(plan.options, (node.name for node in nodes))
    return replace(plan, options=(*plan.options, *excluding))


def said_of(nodes: Sequence[BadNode], typed: Typed) -> str:
    """One line about nodes that are left out."""
    names = ", ".join(f"{node.name} ({node.reason})" for node in nodes)
    return f"left out: {names}; when repaired: {typed.to_forget()}"


def unproved(plan: Plan, digest: str | None, typed: Typed) -> str:
    """One line when no launch like the plan's was proved yet; empty when one was.

    Args:
        plan: how the ranks start.
        digest: of its image.
        typed: what to type again.
    """
    about = combination(plan, CLIENTS[plan.site.scheduler].version(), digest)
    if proofs.read().proof(about) is not None:
        return ""
    return f"no launch was proved yet by {about}: {typed.to_prove(plan.scheduler)}"


def outdated(plan: Plan, digest: str | None) -> str:
    """One line when the image is known to hold another bertjob than this one; empty when not.

    Args:
        plan: what is to be started.
        digest: of its image.
    """
    seen = recall(plan, digest) if plan.engine != "none" and plan.job.image.source is None else None
    if seen is None or not seen.outdated:
        return ""
    return f"image {plan.image} holds bertjob {seen.packages['bertjob']}, and {seen.outdated}"


def combination(plan: Plan, version: str, digest: str | None) -> Combination:
    """What a proof of this plan would be about.

    Args:
        plan: how the ranks start.
        version: of the scheduler; empty without one.
        digest: of its image (images.engine.digest_of).
    """
    kind, name = plan.job.srun_mpi, plan.shape.launcher
    launcher = name if kind in (None, "none") else f"{name} --mpi={kind}"
    image = "" if plan.engine == "none" or plan.image is None else digest or plan.image
    return Combination(plan.site.name, version, plan.engine, image, launcher)
