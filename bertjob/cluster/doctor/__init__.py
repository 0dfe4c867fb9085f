"""Doctor: is this machine, this site and this job fit for each other? Checks are functions from facts to findings."""

from collections.abc import Callable, Iterable, Mapping

from bertjob.cluster.doctor import host_checks, job_checks, launch_checks, slurm_checks
from bertjob.cluster.doctor.case import Case, Finding

Check = Callable[[Case], Iterable[Finding]]

SLURM: tuple[Check, ...] = (
    slurm_checks.controller,
    slurm_checks.release,
    slurm_checks.partition,
    slurm_checks.gpu_option,
    slurm_checks.accounting,
    slurm_checks.pmi_types,
    slurm_checks.clock,
    slurm_checks.leftovers,
)
"""Checks where a scheduler starts jobs."""
SECTIONS: Mapping[str, tuple[Check, ...]] = {
    "scheduler": SLURM,
    "launching": (
        launch_checks.modules,
        launch_checks.host_launcher,
        job_checks.engine,
        job_checks.image,
        launch_checks.launchers,
        launch_checks.root,
        job_checks.proof,
    ),
    "job": (job_checks.plan, job_checks.files, host_checks.gpus),
    "machine": (host_checks.folders, host_checks.caches, host_checks.ports, host_checks.interface),
}
"""All checks in the order in which they are shown."""


def findings(case: Case) -> dict[str, list[Finding]]:
    """What the checks found, by section."""
    found = {}
    for section, checks in SECTIONS.items():
        if checks is not SLURM or case.slurm:
            found[section] = [finding for check in checks for finding in check(case)]
    return found
