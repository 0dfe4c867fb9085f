"""Doctor: is this machine, this site and this job fit for each other? Checks are functions from facts to findings."""

from collections.abc import Callable, Iterable, Mapping
from typing import cast

from bertjob.cluster.doctor import host_checks, job_checks, launch_checks
from bertjob.cluster.doctor.case import Case, Finding
from bertjob.cluster.scheduler import CLIENTS
from bertjob.config.registry.code import load_code
from bertjob.config.site import Site

Check = Callable[[Case], Iterable[Finding]]

SECTIONS: Mapping[str, tuple[Check, ...]] = {
    "launching": (
        launch_checks.modules,
        launch_checks.host_launcher,
        job_checks.engine,
        job_checks.image,
        launch_checks.launchers,
        launch_checks.root,
        job_checks.proof,
    ),
    "job": (job_checks.plan, job_checks.files, job_checks.model, host_checks.gpus),
    "machine": (host_checks.folders, host_checks.caches, host_checks.limits, host_checks.ports, host_checks.interface),
}
"""The checks of every site in the order in which they are shown, behind those of its scheduler."""


def findings(case: Case) -> dict[str, list[Finding]]:
    """What the checks found, by section."""
    sections = {"scheduler": _of_scheduler(case.site), **SECTIONS}
    return {
        section: [finding for check in checks for finding in check(case)]
        for section, checks in sections.items()
        if checks
    }


def _of_scheduler(site: Site) -> tuple[Check, ...]:
    code = CLIENTS[site.scheduler].checks
    return cast("tuple[Check, ...]", load_code(code)) if code else ()
