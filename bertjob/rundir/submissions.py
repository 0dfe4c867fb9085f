"""submissions.jsonl: one line for each time that a run was handed to a scheduler or started on a machine."""

from pathlib import Path

import msgspec

from bertjob.rundir import atomic
from bertjob.rundir.directory import RunDir


class Submission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line."""

    job_id: str
    """The scheduler's id; ``local`` without a scheduler."""
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


_DECODER = msgspec.json.Decoder(Submission)


def encode(submission: Submission) -> bytes:
    """A line without its end."""
    return msgspec.json.encode(submission)


def decode(line: bytes) -> Submission:
    """Read a line; keys of newer versions are passed over.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    return _DECODER.decode(line)


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


def appended_by_script(site: str, scheduler: str, job_id: str) -> list[str]:
    """Shell that adds a line for a job that was submitted without bertjob, unless there is one of it.

    Args:
        site: name of the site.
        scheduler: name of the scheduler.
        job_id: the shell's variable that holds the job's id, as `$NAME`; `$RUN` holds the run directory.
    """
    file = f'"{RunDir(Path("$RUN")).submissions}"'
    entry = f'{{"job_id":"%s","site":"{site}","scheduler":"{scheduler}","time":%s,"host":"%s"}}'
    return [
        f'grep -qs "\\"{job_id}\\"" {file} ||',
        f'  printf \'{entry}\\n\' "{job_id}" "$(date +%s)" "$HOSTNAME" >> {file}',
    ]
