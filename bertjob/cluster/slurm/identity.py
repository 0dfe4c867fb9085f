"""Whose is the job of a number? Numbers are given once per cluster, and again when slurmctld's state was lost.

A run knows how it was submitted: by whom, under which name, where, and with which script. A job that differs in this is
another one, whatever its number. For runs that older versions have submitted, their files tell most of it.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from bertjob.cluster.runs.catalog import Run
from bertjob.rundir.directory import RunDir
from bertjob.rundir.provenance import read_provenance

_SKEW_S = 1800.0
"""Clocks of one cluster differ by less: munge refuses messages that are five minutes old (munged(8), --help: TTL)."""
SEPARATOR = "\x1f"
"""Stands between fields of squeue that may hold any printable character."""
SQUEUE = SEPARATOR.join(("", "%U", "%u", "%V", "%j", "%Z", "%o"))
"""The end of squeue's format: user id, user, time of submission, name, working directory, command."""
SACCT = "UID,User,Submit,WorkDir,JobName"
"""The end of sacct's format; the last two may hold any character."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What Slurm says about the submission of a job; empty: not told."""

    uid: str
    user: str
    submitted: str
    """Local time, as ``2026-11-30T11:51:38``; of a job that was requeued, when that was (22.05)."""
    named: tuple[str, ...]
    """Name and working directory; sacct has them in one, the directory first, as both may hold its separator."""
    command: str = ""
    """Path of the script and its arguments; sacct does not tell it."""


def seen_by_squeue(output: str) -> dict[str, Seen]:
    """Jobs by id, from lines that end as above; a name may hold a line break, which cuts the rest."""
    found = {}
    for line in output.splitlines():
        if SEPARATOR in line:
            _, uid, user, submitted, name, directory, command = (line + 6 * SEPARATOR).split(SEPARATOR)[:7]
            seen = Seen(uid=uid, user=user, submitted=submitted, named=(name, directory), command=command)
            found[line.partition("|")[0]] = seen
    return found


def seen_by_sacct(output: str) -> dict[str, Seen]:
    """The same of sacct, whose lines begin with four other fields."""
    found = {}
    for line in output.splitlines():
        fields = line.split("|", 7)
        if len(fields) == 8:
            uid, user, submitted, named = fields[4:]
            found[fields[0]] = Seen(uid=uid, user=user, submitted=submitted, named=(named,))
    return found


def is_of(run: Run, seen: Seen) -> bool:
    """Whether a job that has the number of a run's is the run's."""
    said = run.submission
    if said.uid is None:
        return _is_of_older(run, seen)
    if seen.uid != str(said.uid):
        return False
    if said.script and seen.command:
        return seen.command == said.script
    if said.script and (submitted := _seconds(seen.submitted)) is not None:
        if submitted < said.time - _SKEW_S:
            return False
        if submitted < said.time + _SKEW_S:
            return True
    return _named(seen, said.job_name, said.directory)


def description(run: Run, seen: Seen) -> str:
    """Says whose the job is that has the number of a run's."""
    name, directory = seen.named if len(seen.named) > 1 else (seen.named[0].rpartition("|")[2], "")
    of = f" of {seen.user}" if seen.user else ""
    where = f", submitted in {directory}" if directory else ""
    whose = "is not the run's any more" if run.submission.cluster else "here is not the run's"
    return f"job {run.submission.job_id} {whose}, but {name or 'one without a name'}{of}{where}"


def _named(seen: Seen, name: str, directory: str) -> bool:
    if len(seen.named) == 1:
        found = seen.named[0]
        return found == f"{directory}|{name}" if directory else found.endswith(f"|{name}")
    return seen.named[0] == name and directory in ("", seen.named[1])


def _is_of_older(run: Run, seen: Seen) -> bool:
    """The same for a submission of an older version, of which the index of runs has no more than the number."""
    here = run.run_dir
    if seen.command == str(here.script):
        return True
    if _is_of_another_run(seen.command, here):
        return False
    try:
        owner = here.submissions.stat().st_uid
    except OSError:
        return True  # nothing tells
    origin = read_provenance(here.provenance)
    if seen.uid != str(owner) or origin is None:
        return seen.uid == str(owner)
    # The script makes its run directory below the folder of submission; a training by hand wrote where it worked.
    places = (origin.directory, here.path, *here.path.parents[:2])
    return any(_named(seen, origin.job, str(place)) for place in places)


def _is_of_another_run(command: str, run_dir: RunDir) -> bool:
    script = Path(command)
    other = RunDir(script.parent)
    return script.name == run_dir.script.name and other.path != run_dir.path and other.submissions.exists()


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
