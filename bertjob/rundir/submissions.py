"""submissions.jsonl: one line for each time that a run was handed to a scheduler or started on a machine."""

import contextlib
import math
import re
from pathlib import Path

import msgspec

from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import LOCAL_ID


class Submission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    job_id: str
    """The scheduler's id, a number; ``local`` without a scheduler."""
    cluster: str = ""
    """Name of the cluster whose scheduler gave that number, as it calls itself; empty where nobody told."""
    site: str
    scheduler: str
    """Name of the scheduler, as in a site file."""
    time: float
    """Seconds since the epoch."""
    host: str
    """Where it was submitted or started."""
    pid: int = 0
    """The process group of a local run."""
    after: str = ""
    """Id of the job in the scheduler that must succeed before this one may start; empty unless it is of a chain."""
    after_dir: str = ""
    """Run directory of that job."""
    job_name: str = ""
    """What the scheduler calls the job; with what follows it tells the job from another one of the same number."""
    uid: int | None = None
    """The user whose job it is."""
    directory: str = ""
    """The working directory in which it was submitted; empty where it is not known."""
    script: str = ""
    """Path by which the scheduler got the script; empty where bertjob has not submitted it."""


_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)
_CLUSTER = re.compile(r"[\w.-]{0,64}", re.ASCII)
_DECODER = msgspec.json.Decoder(Submission)


def encode(submission: Submission) -> bytes:
    """A line without its end."""
    return msgspec.json.encode(submission)


def decode(line: bytes) -> Submission:
    """Read a line; keys of newer versions are passed over.

    Anybody may have written it, and its ids become words of the scheduler's commands and parts of paths, its process
    the target of signals: only numbers are read, or `local`. The cluster becomes a word as well, and must be one name.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    found = _DECODER.decode(line)
    if not _is_id(found.job_id) or (found.after and not _is_id(found.after)):
        raise msgspec.ValidationError("an id of a job is a number")
    if _CLUSTER.fullmatch(found.cluster) is None:
        raise msgspec.ValidationError("expected the name of one cluster")
    if found.pid < 0 or not math.isfinite(found.time):
        raise msgspec.ValidationError("no process of a run has this number")
    return found


def _is_id(text: str) -> bool:
    return text == LOCAL_ID or _NUMBER.fullmatch(text) is not None


def append(run_dir: RunDir, submission: Submission) -> None:
    """Add a line, behind half a line where a script's disk was full.

    Raises:
        OSError: it cannot be written.
    """
    file = run_dir.submissions
    torn = file.exists() and not file.read_bytes().endswith(b"\n")
    atomic.append(file, b"\n" * torn + encode(submission) + b"\n")


def newest(run_dir: RunDir) -> Submission | None:
    """The last line that is whole; None where nothing was submitted yet, or what is there cannot be read."""
    try:
        return decode(run_dir.submissions.read_bytes().rpartition(b"\n")[0].splitlines()[-1])
    except (OSError, IndexError, msgspec.DecodeError):
        return None


def every(run_dir: RunDir) -> list[Submission]:
    """All lines that can be read, the oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for line in run_dir.submissions.read_bytes().splitlines():
            with contextlib.suppress(msgspec.DecodeError):
                found.append(decode(line))
    return found


class Variables(msgspec.Struct, frozen=True, kw_only=True):
    """Variables of the shell in which a scheduler tells a job about itself, each as ``$NAME``."""

    job_id: str
    cluster: str
    """The name of the cluster; may be unset."""
    job_name: str
    directory: str
    """The working directory in which the job was submitted; may be unset, or not the one in which it began."""


def appended_by_script(site: str, scheduler: str, variables: Variables) -> list[str]:
    """Shell that adds a line for a job that was submitted without bertjob, unless there is one of it.

    Args:
        site: name of the site.
        scheduler: name of the scheduler.
        variables: what the job knows of itself; `$RUN` holds the run directory.
    """
    file = f'"{RunDir(Path("$RUN")).submissions}"'
    job_id = variables.job_id
    cluster, name, place = (f"${{{one[1:]}:-}}" for one in (variables.cluster, variables.job_name, variables.directory))
    entry = (
        f'{{"job_id":"%s","cluster":"%s","site":"{site}","scheduler":"{scheduler}","time":%s,"host":"%s",'
        '"job_name":"%s","uid":%s,"directory":"%s"}'
    )
    return [
        # Printable ASCII without quotes and backslashes; another job is then told apart by the rest.
        r"""plain() { (LC_ALL=C; [[ $1 == *[^[:print:]]* || $1 == *[\"\\]* ]] || printf %s "$1"); }""",
        f'grep -qs "\\"job_id\\":\\"{job_id}\\",\\"\\\\(site\\\\|cluster\\":\\"{cluster}\\"\\\\)" {file} || {{',
        f'  submitted_in=$([ ! "{place}" -ef . ] || plain "{place}")',
        f"  printf '{entry}\\n' \\",
        f'    "{job_id}" "{cluster}" "$(date +%s)" "$HOSTNAME" \\',
        f'    "$(plain "{name}")" "$UID" "$submitted_in" >> {file} || true',
        "}",
    ]
