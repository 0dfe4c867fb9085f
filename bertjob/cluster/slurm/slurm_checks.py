"""Doctor's checks of Slurm: whether it answers, the traps of its release, and whether it has what the job asks for.

From Slurm's release notes and from what was seen on 22.05.8.
"""

from collections.abc import Iterator, Sequence

import msgspec

from bertjob.cluster import capacity
from bertjob.cluster.doctor.case import Case, Finding, fail, ok, warn
from bertjob.cluster.scheduler_answers import NodeGroup
from bertjob.cluster.slurm.facts import NO_CONFIGURATION
from bertjob.config.job import Resources
from bertjob.config.site import Site
from bertjob.launch.schedulers.sbatch_options import environment_problem
from bertjob.launch.schedulers.slurm_requirements import combined
from bertjob.text import counted, did_you_mean

Release = tuple[int, int]
_EVER: Release = (99, 0)


class Trap(msgspec.Struct, frozen=True):
    """Something that a release does and people do not expect.

    Attributes:
        first: the first release that has it.
        before: the first one that has it no longer.
        what: what happens.
        answer: what bertjob's scripts do about it.
    """

    first: Release
    before: Release
    what: str
    answer: str


TRAPS = (
    Trap((0, 0), (19, 5), "sbatch has no --gpus-per-node", "`gpu_option: gres` in the site asks by --gres"),
    Trap((20, 11), _EVER, "a step inside a step waits for ever", "shared nodes get --overlap"),
    Trap((22, 5), (22, 6), "takes backslashes out of the path of the log", "such run directories are refused"),
    Trap((22, 5), _EVER, "srun takes no --cpus-per-task from sbatch", "the scripts hand it to srun as well"),
    Trap((0, 0), (23, 2), "a log is lost if its folder is made late", "submit makes it first"),
)


def traps(release: Release) -> list[Trap]:
    """The traps of a release."""
    return [trap for trap in TRAPS if trap.first <= release < trap.before]


_SHOWN = 3
_CLOCK_WARN_S, _CLOCK_FAIL_S = 5, 240
"""Munge refuses messages that are five minutes old; bertjob tells stale heartbeats by two."""


def controller(case: Case) -> Iterator[Finding]:
    """Whether Slurm answers at all."""
    slurm = case.machine.scheduler
    if not slurm.installed:
        yield fail("Slurm", slurm.error, "use a login node of the cluster, or `--site local` for this machine")
    elif slurm.error == NO_CONFIGURATION:
        yield fail("Slurm", slurm.error, "a login node of the cluster, or SLURM_CONF=/path/of/slurm.conf")
    elif slurm.error:
        away = "nothing can be submitted until the controller is back; jobs that run go on, and tell by their heartbeat"
        yield fail("Slurm", slurm.error, away)
    else:
        yield ok("Slurm", f"{slurm.version}, cluster {slurm.cluster}: the controller answers")


def release(case: Case) -> Iterator[Finding]:
    """The traps of this release of Slurm, all of which bertjob knows about."""
    slurm = case.machine.scheduler
    if slurm.release is None:
        return
    for trap in traps(slurm.release):
        yield ok("trap", f"{trap.what}: {trap.answer}")


def partition(case: Case) -> Iterator[Finding]:
    """Whether a partition takes the job; Slurm itself accepts many that then wait for ever."""
    groups = case.machine.scheduler.groups
    for cluster in dict.fromkeys(group.cluster for group in groups):
        yield from _partition(case, [group for group in groups if group.cluster == cluster])


def _partition(case: Case, groups: Sequence[NodeGroup]) -> Iterator[Finding]:
    """The same on one cluster."""
    names = list(dict.fromkeys(group.partition for group in groups))
    at = f" of cluster {groups[0].cluster}" if groups[0].cluster else ""
    name = next(iter(capacity.partition_names(case.job.resources, groups)), None)
    if name is None:
        yield fail("partition", f"there is no default partition{at}", f"say --partition: {', '.join(names)}")
        return
    if name not in names:
        yield fail("partition", f"there is no partition {name}{at}", did_you_mean(name, names))
        return
    nodes = [group for group in groups if group.partition == name]
    group = capacity.roomiest(nodes)
    if problems := list(capacity.too_much(case.job, case.site, nodes)):
        yield fail("partition", f"{name}{at}: {'; '.join(problems)}", capacity.ASK_FOR_LESS)
    elif not group.up:
        yield fail("partition", f"{name}{at} is down: jobs wait in it", f"another --partition: {', '.join(names)}")
    else:
        yield ok("partition", f"{name}{at}: {_described(group, sum(group.nodes for group in nodes))}")


def gpu_option(case: Case) -> Iterator[Finding]:
    """Whether Slurm knows the option by which the site asks for GPUs."""
    select = case.machine.scheduler.settings.get("SelectType", "")
    asked = case.job.resources.gpus_per_node or 0
    if asked and case.site.gpu_option == "gpus-per-node" and select and select != "select/cons_tres":
        how = "`gpu_option: gres` in the site file"
        yield fail("GPU option", f"{select} knows no --gpus-per-node", how)


def accounting(case: Case) -> Iterator[Finding]:
    """Whether ended jobs are remembered, and whether one must say whom to charge."""
    settings = case.machine.scheduler.settings
    if not settings:
        return
    if settings.get("AccountingStorageType", "accounting_storage/none").endswith("/none"):
        lost = "Slurm keeps no accounts: it forgets jobs soon after their end"
        yield warn("accounting", lost, "none needed: bertjob goes by the runs' own heartbeats; sacct will not work")
    elif "associations" in settings.get("AccountingStorageEnforce", "") and not case.job.resources.account:
        who = "jobs without an account are refused, unless you have a default one"
        yield warn("accounting", who, "--account NAME, or `defaults: {account: NAME}` in the site file")
    else:
        yield ok("accounting", "sacct remembers ended jobs")


def pmi_types(case: Case) -> Iterator[Finding]:
    """What srun offers to MPI."""
    slurm = case.machine.scheduler
    if not slurm.settings:
        return
    for kind, reason in slurm.mpi_broken.items():
        remedy = "another type, or ask the site's support for its library"
        yield warn("PMI types", f"srun --mpi={kind} is listed and starts nothing: {reason}", remedy)
    default = slurm.settings.get("MpiDefault", "none")
    if not slurm.mpi_types:
        yield warn("PMI types", "srun --mpi=list names none", "ask the site's support whether srun is a wrapper here")
        return
    if missing := [kind for kind in case.site.mpi.slurm if not slurm.offers(kind)]:
        said = f"the site file says {', '.join(missing)}, which srun does not offer"
        yield warn("PMI types", said, f"`mpi: {{slurm: [{', '.join(slurm.mpi_types)}]}}` in the site file")
        return
    yield ok("PMI types", f"{', '.join(slurm.mpi_types)}; srun's default is {default}")


def clock(case: Case) -> Iterator[Finding]:
    """Whether this machine and the controller agree on the time."""
    ahead = case.machine.scheduler.clock
    if ahead is None:
        return
    if abs(ahead) < _CLOCK_WARN_S:
        yield ok("clock", "as the controller's")
        return
    apart = f"the controller's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    level = fail if abs(ahead) > _CLOCK_FAIL_S else warn
    yield level("clock", apart, "ask the site's support: NTP; Slurm refuses messages that are five minutes off")


def leftovers(case: Case) -> Iterator[Finding]:
    """Variables in this shell that change what sbatch does, and what bertjob makes of each."""
    found = case.machine.places.leftovers
    if not found:
        yield ok("environment", "no variables of another job")
        return
    if problem := environment_problem(found):
        what, _, remedy = problem.partition(": ")
        yield fail("environment", what, remedy)
    rest = {name: value for name, value in found.items() if not environment_problem({name: value})}
    notes = combined(Resources(), Site(name=case.site.name), rest, "SBATCH_").notes
    unsaid = [name for name in rest if not any(name in note for note in notes)]
    if taken := [f"{name}={rest[name]}" for name in unsaid if _is_option(name)]:
        yield warn(
            "environment", f"{', '.join(taken)}: submit takes them as your defaults", "unset what you do not mean"
        )
    for note in notes:
        yield warn("environment", note, "none needed for bertjob; sbatch by hand would obey")
    if others := [name for name in unsaid if not _is_option(name)]:
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
        inside = "this shell is inside of a job" if "SLURM_JOB_ID" in found else "Slurm's commands by hand would obey"
        yield warn(
            "environment", f"{shown}: {inside}", "none needed for bertjob, which leaves them out; else unset them"
        )


def _is_option(name: str) -> bool:
    return name.startswith("SBATCH_") or name == "SLURM_CLUSTERS"


def _described(group: NodeGroup, total: int) -> str:
    gpus = "no GPU" if not group.gpus else f"{group.gpus} {group.gpu}" if group.gpu else counted(group.gpus, "GPU")
    limit = f"up to {group.time}" if group.time else "no time limit"
    return f"{total} nodes, {group.idle} idle, {group.cpus} CPUs, {gpus} each, {limit}"


CHECKS = (controller, release, partition, gpu_option, accounting, pmi_types, clock, leftovers)
"""In the order in which they are shown."""
