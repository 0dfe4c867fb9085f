"""Schedulers, the half that acts: submit, query and cancel jobs, and facts about what there is.

Runs of several schedulers are handled together: each scheduler is asked once. A new scheduler is one module of
functions, one row of `CLIENTS`, and the pure half in bertjob.launch.schedulers.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from bertjob.cluster import process_group
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import (
    NOT_ASKED,
    UNKNOWN,
    Answer,
    JobInfo,
    JobState,
    NodeGroup,
    SchedulerFacts,
    Started,
)
from bertjob.cluster.slurm import clusters, facts, hand_over, own_jobs, queue
from bertjob.rundir.directory import RunDir

PATIENCE_S = 60.0
"""Seconds that an answer may take: the controllers of large clusters are slow at times."""


class _Cancel(Protocol):
    def __call__(self, runs: Collection[Run], *, at_once: bool) -> None: ...


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table."""

    submit: Callable[[RunDir], Started]
    """Take the script of a run directory. Raises SchedulerError, in the scheduler's words."""
    estimate: Callable[[str], str]
    """When a script would start by what the scheduler knows now, or why it could not, without queueing it; empty where
    nobody tells. Never raises."""
    find: Callable[[RunDir], tuple[Started | None, str]]
    """The job of a run's script in the queue that is not recorded, None where there is none; and why the scheduler does
    not tell, empty where it does."""
    query: Callable[[Collection[Run], float], Answer]
    """Where the jobs of runs stand, by one question, whose answer is waited for so many seconds.

    Never raises: what cannot be asked is a line in the answer.
    """
    cancel: _Cancel
    """Ask the jobs of runs to stop with a checkpoint, or end them at once; those that have ended are passed over.

    Raises SchedulerError, or BertjobError where they cannot be reached from here.
    """
    withdraw: Callable[[Run], bool]
    """Cancel the job of a run unless it has started; whether it did. Raises SchedulerError where that is not known."""
    installed: Callable[[], bool]
    """Whether its commands are here; asks nobody."""
    version: Callable[[], str]
    """Its version as its commands say it; empty where they are not here."""
    groups: Callable[[Sequence[str]], tuple[NodeGroup, ...]]
    """Its partitions and their nodes, given options that may name another cluster; empty where it does not answer.
    Never raises."""
    limits_handed_on: Callable[[Sequence[str]], Collection[str]]
    """Names of the resource limits of this shell that a job with these options gets, e.g. ``CPU``. Never raises."""
    facts: Callable[[Sequence[str]], SchedulerFacts]
    """All that it says of itself, given such options. Never raises."""
    home: Callable[[], str]
    """Name of the cluster that its commands ask here by default; empty where it has none. Never raises."""
    checks: str
    """Checks of doctor, as "module:name" of a tuple; empty for none."""


CLIENTS: Mapping[str, Client] = {
    "none": Client(
        submit=process_group.submit,
        estimate=lambda script: "",
        find=lambda run_dir: (None, ""),
        query=process_group.query,
        cancel=process_group.cancel,
        withdraw=lambda run: False,
        installed=lambda: False,
        version=lambda: "",
        groups=lambda options: (),
        limits_handed_on=lambda options: process_group.INHERITED_LIMITS,
        facts=lambda options: SchedulerFacts(),
        home=str,
        checks="",
    ),
    "slurm": Client(
        submit=hand_over.submit,
        estimate=hand_over.estimate,
        find=own_jobs.find,
        query=queue.query,
        cancel=queue.cancel,
        withdraw=queue.withdraw,
        installed=facts.installed,
        version=facts.version,
        groups=facts.groups,
        limits_handed_on=facts.limits_handed_on,
        facts=facts.look,
        home=clusters.home,
        checks="bertjob.cluster.slurm.slurm_checks:CHECKS",
    ),
}
"""By the names that a site file may say; runs of this machine come first, which may refuse before others are told."""


def ask(runs: Collection[Run], patience: float = PATIENCE_S) -> Answer:
    """Where runs stand, by one question to each scheduler that has some of them.

    For the job of a submission in doubt, which has no id, the queue is searched.

    Args:
        runs: on a cluster, or on this machine.
        patience: seconds after which a scheduler counts as away.
    """
    jobs: dict[str, JobInfo] = {}
    controllers, accountings = [], []
    for client, some in _by_client(runs):
        for run in (run for run in some if not run.submission.job_id):
            found, error = client.find(run.run_dir)
            jobs[run.path] = NOT_ASKED if error else UNKNOWN if found is None else JobInfo(JobState.PENDING)
            controllers.append(error)
        with_id = [run for run in some if run.submission.job_id]
        answer = client.query(with_id, patience)
        jobs.update({run.path: answer.job(run) for run in with_id})
        controllers.append(answer.controller)
        accountings.append(answer.accounting)
    return Answer(jobs, "; ".join(filter(None, controllers)), "; ".join(filter(None, accountings)))


def cancel(runs: Collection[Run], *, at_once: bool = False) -> None:
    """Ask runs to stop with a checkpoint, and take those that wait out of the queue; ended ones are left.

    Args:
        runs: on a cluster, or on this machine.
        at_once: end them, without a checkpoint of the newest step.

    Raises:
        SchedulerError: the scheduler refused or is away.
        BertjobError: a local run was started on another machine.
    """
    for client, some in _by_client(runs):
        client.cancel(some, at_once=at_once)


def elsewhere(run: Run) -> bool:
    """Whether the job of a run is known to be on another cluster than that of this machine."""
    said = run.submission
    return bool(said.cluster) and CLIENTS[said.scheduler].home() not in ("", said.cluster)


def withdraw(run: Run) -> bool:
    """Cancel the job of a run unless it has started.

    Returns:
        Whether it was cancelled.

    Raises:
        SchedulerError: the scheduler does not tell; the job stays in the queue.
    """
    return CLIENTS[run.submission.scheduler].withdraw(run)


def any_installed() -> bool:
    """Whether the commands of some scheduler are here."""
    return any(client.installed() for client in CLIENTS.values())


def _by_client(runs: Collection[Run]) -> Iterator[tuple[Client, list[Run]]]:
    for name, client in CLIENTS.items():
        if some := [run for run in runs if run.submission.scheduler == name]:
            yield client, some
