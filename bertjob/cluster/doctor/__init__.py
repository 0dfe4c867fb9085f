"""Doctor: is this machine, this site and this job fit for each other? Checks are functions from facts to findings."""

from collections.abc import Callable, Iterable, Mapping

from bertjob.cluster.doctor import job, launching, scheduler, surroundings
from bertjob.cluster.doctor.case import Case
from bertjob.cluster.doctor.finding import Finding

Check = Callable[[Case], Iterable[Finding]]

SLURM: tuple[Check, ...] = (
    scheduler.controller,
    scheduler.release,
    scheduler.partition,
    scheduler.gpu_option,
    scheduler.accounting,
    scheduler.pmi_types,
    scheduler.clock,
    scheduler.leftovers,
)
"""Checks where a scheduler starts jobs."""
SECTIONS: Mapping[str, tuple[Check, ...]] = {
    "scheduler": SLURM,
    "launching": (
        launching.modules,
        launching.host_mpi,
        job.engine,
        job.image,
        launching.launchers,
        launching.root,
        job.proof,
    ),
    "job": (job.plan, job.files, surroundings.gpus),
    "machine": (surroundings.folders, surroundings.caches, surroundings.ports, surroundings.interface),
}
"""All checks in the order in which they are shown."""


def findings(case: Case) -> dict[str, list[Finding]]:
    """What the checks found, by section."""
    found = {}
    for section, checks in SECTIONS.items():
        if checks is not SLURM or case.slurm:
            found[section] = [finding for check in checks for finding in check(case)]
    return found
