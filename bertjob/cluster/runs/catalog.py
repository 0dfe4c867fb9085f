"""Runs: write down that one was started, list them, find one by what a person calls it."""

import contextlib
import logging
import os
import socket
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from bertjob.cluster.runs.index import Entry, Index, state_folder
from bertjob.cluster.scheduler_answers import Started
from bertjob.errors import BertjobError, SpecError
from bertjob.launch.schedulers import SCHEDULERS, Scheduler
from bertjob.rundir import lease, submissions
from bertjob.rundir.directory import RUNS, RunDir
from bertjob.rundir.provenance import read_provenance
from bertjob.rundir.resume import elsewhere
from bertjob.rundir.submissions import Submission
from bertjob.rundir.world import LOCAL_ID
from bertjob.text import did_you_mean, reason

_log = logging.getLogger(__name__)


class Run(msgspec.Struct, frozen=True):
    """A run directory and its newest submission."""

    path: str
    submission: Submission

    @property
    def run_dir(self) -> RunDir:
        """The paths of the run."""
        return RunDir(Path(self.path))

    @property
    def name(self) -> str:
        """Name of the run."""
        return os.path.basename(self.path)  # noqa: PTH119  # pathlib is slow for thousands of runs

    @property
    def scheduler(self) -> Scheduler:
        """What its scheduler means for it."""
        return SCHEDULERS[self.submission.scheduler]


def record(
    run_dir: RunDir,
    *,
    job_id: str,
    site: str,
    scheduler: str,
    pid: int = 0,
    after: tuple[str, str] = ("", ""),
) -> Run:
    """Write down that a run was started, as `file`.

    `after` has the id and the run directory of the job before it in a chain.
    """
    said = Submission(
        job_id=job_id,
        site=site,
        scheduler=scheduler,
        time=time.time(),
        host=socket.gethostname(),
        pid=pid,
        after=after[0],
        after_dir=after[1],
    )
    return file(run_dir, said)


def submission(
    run_dir: RunDir,
    started: Started,
    *,
    site: str,
    scheduler: str,
    job_name: str,
    after: tuple[str, str] = ("", ""),
) -> Submission:
    """What is written down of a job that was submitted from here, by this user and in this working directory.

    Args:
        run_dir: where it runs, with the script that was submitted.
        started: the scheduler's answer.
        site: name of the site.
        scheduler: name of the scheduler.
        job_name: what the scheduler calls the job.
        after: the id and the run directory of the job before it in a chain.
    """
    try:
        directory = os.getcwd()  # noqa: PTH109  # without links, as sbatch has it
    except OSError:
        directory = ""
    return Submission(
        job_id=started.job_id,
        cluster=started.cluster,
        site=site,
        scheduler=scheduler,
        time=time.time(),
        host=socket.gethostname(),
        after=after[0],
        after_dir=after[1],
        job_name=job_name,
        uid=os.getuid(),
        directory=directory,
        script=str(run_dir.script),
    )


def file(run_dir: RunDir, submission: Submission) -> Run:
    """Write a submission down: in the run's directory, which is the truth, and in the index.

    The job is at work by then, so where nothing can be written, a warning says its id.
    """
    try:
        submissions.append(run_dir, submission)
    except OSError as error:
        where, job_id = run_dir.submissions, submission.job_id
        _log.warning("%s: job %s cannot be written down: %s", where, job_id, reason(error))
    run = Run(str(run_dir.path), submission)
    _index().add(run.path, submissions.encode(submission))
    return run


def forget(path: str) -> None:
    """Take a run whose directory is gone out of the index."""
    _index().drop(path)


def read(run_dir: RunDir) -> Run | None:
    """The run by its directory alone; None where nothing was submitted yet, or what is there cannot be read."""
    submission = submissions.newest(run_dir)
    return Run(str(run_dir.path), submission) if submission is not None and _is_known(submission) else None


def in_doubt(run_dir: RunDir) -> Run | None:
    """The run of a submission that is over, and of which nobody learned whether it has a job: its id is empty."""
    from bertjob.config.load import read_site  # which lists of runs need seldom

    try:
        holder = lease.read(run_dir)
        if holder is None or holder.job_id or holder.ended or lease.lives(holder):
            return None
        site = read_site(run_dir.site)
    except (OSError, BertjobError):
        return None
    origin = read_provenance(run_dir.provenance)
    name = "" if origin is None else origin.job
    said = Submission(
        job_id="", site=site.name, scheduler=site.scheduler, time=holder.time, host=holder.host, job_name=name
    )
    return Run(str(run_dir.path), said) if _is_known(said) else None


def expect(run_dir: RunDir) -> None:
    """Remember where a run is of which nobody knows whether it has a job, as `in_doubt`."""
    _index().remember(run_dir.path.parent)


def before(run: Run) -> Run | None:
    """The run whose success a link of a chain waits for; None where there is none, or it went on by another job."""
    said = run.submission
    found = read(RunDir(Path(said.after_dir))) if said.after else None
    return found if found is not None and found.submission.job_id == said.after else None


def with_those_before(some: Iterable[Run]) -> list[Run]:
    """Runs, and behind them all that links of chains among them wait for; each once."""
    found = {run.path: run for run in some}
    waiting = [run for run in found.values() if run.submission.after]
    while waiting:
        one = before(waiting.pop())
        if one is not None and one.path not in found:
            found[one.path] = one
            waiting.append(one)
    return list(found.values())


def known() -> list[Run]:
    """All runs of this user that are still there, the oldest first.

    Those beside a known run or in the working directory's ``runs`` are among them in any case: plain sbatch tells the
    index nothing, and a full disk may have kept one out of it.
    """
    return _known()[0]


def _known() -> tuple[list[Run], list[Run]]:
    """All runs that are still there, and those that are not at the place where they were submitted; oldest first."""
    index = _index()
    entries = dict(index.entries())
    parents = {os.path.dirname(path) for path in entries}  # noqa: PTH120  # pathlib is slow for thousands
    there = _folders_in(parents.union(index.folders()))
    runs = [run for path in (there | _near()) - entries.keys() if (run := _read_or_doubt(path))]
    gone: list[Run] = []
    for path, submission in entries.items():
        with contextlib.suppress(msgspec.DecodeError):
            if _is_known(said := submissions.decode(submission)):
                (runs if path in there else gone).append(Run(path, said))
    return _by_time(runs), _by_time(gone)


def _read_or_doubt(path: str) -> Run | None:
    run_dir = RunDir(Path(path))
    return read(run_dir) or in_doubt(run_dir)


def _by_time(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: run.submission.time)


def rebuild(folders: Collection[Path]) -> int:
    """Make the index anew from the run directories in `folders` and in those it knew; says how many there are.

    Raises:
        BertjobError: it cannot be written; the former one stays.
    """
    try:
        return _index().rebuild([folder.absolute() for folder in folders])
    except (OSError, sqlite3.Error) as error:
        raise BertjobError(f"{state_folder()}: the index of runs cannot be made anew: {error}") from None


def find(text: str) -> Run:
    """The run that a person means by a path, a run's name, a scheduler's id or the beginning of a name.

    The newest run has an id that several have: each cluster counts for itself, and anew when it is set up again;
    ``17@daint`` is that of one cluster. The id of an earlier job of a run means the run; a warning names its newest
    job.

    Raises:
        SpecError: no run is called so, or several are; names the nearest or some of them. Or it may not be read.
    """
    found = find_job(text)
    newest = read(found.run_dir) or found
    if newest.submission.job_id != found.submission.job_id:
        _log.warning("%s: an earlier job of %s, whose newest is %s", text, found.name, newest.submission.job_id)
    return newest


def find_newest(text: str) -> Run:
    """As `find`, for what ends a job: not the one that has followed the job of this id, nor one of another cluster.

    Raises:
        SpecError: as `find`, or it is the id of an earlier job, or jobs of several clusters have it.
    """
    found = find_job(text)
    if text.isdecimal() and found.submission.job_id == text and text not in (found.name, found.path):
        same = [run for run in known() if run.submission.job_id == text and run.scheduler.queues]
        if len({run.submission.cluster for run in same} - {""}) > 1:
            which = ", ".join(f"{text}@{run.submission.cluster} ({run.name})" for run in same)
            raise SpecError(f"{text}: a number of several clusters: {which}: name one of them")
    newest = read(found.run_dir) or found
    if newest.submission.job_id != found.submission.job_id:
        raise SpecError(f"{text}: an earlier job of {found.name}, whose newest is {newest.submission.job_id}: say that")
    return found


def find_job(text: str) -> Run:
    """As `find`, but for the id of an earlier job of a run, the run with that submission.

    Raises:
        SpecError: as `find`.
    """
    path = RunDir(Path(text).absolute())
    if _can_open(path.submissions) and (run := read(path)):
        return run
    if _can_open(path.lease) and (run := in_doubt(path)):
        return run
    runs, gone = _known()
    if lost := [run for run in gone if text in _names(run) or str(path.path) == run.path]:
        return _elsewhere(lost[-1], runs)
    if not runs:
        raise SpecError(f"{text}: no such run: none has been started yet, or give the path of its directory")
    if same := [run for run in runs if text in _names(run)]:
        return same[-1]
    if earlier := _with_earlier(text, runs):
        return earlier
    alike = [run for run in runs if run.name.startswith(text)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        newest = ", ".join(run.name for run in reversed(alike[-4:]))
        raise SpecError(f"{text}: {len(alike)} runs begin like this, the newest are {newest}")
    raise SpecError(f"{text}: no such run: {did_you_mean(text, [run.name for run in runs[-8:]])}")


def _names(run: Run) -> tuple[str, ...]:
    """What a run is called in full; `local` names no job."""
    said = run.submission
    ids = (said.job_id, f"{said.job_id}@{said.cluster}") if run.scheduler.queues and said.job_id else ()
    return run.name, run.path, *ids


def _elsewhere(gone: Run, runs: Iterable[Run]) -> Run:
    """A run that is not where it was: at the place where it is now, if that is known. Its job may be in the queue."""
    for run in runs:
        if any(each == gone.submission for each in submissions.every(run.run_dir)):
            _log.warning("%s: the run directory was moved to %s", gone.path, run.path)
            return run
    _log.warning("%s: %s", gone.path, elsewhere(submitted=gone.scheduler.queues))
    return gone


def _with_earlier(job_id: str, runs: Sequence[Run]) -> Run | None:
    """The newest run that a scheduler's job of this id once worked on, with that submission."""
    if job_id.isdecimal():
        for run in reversed(runs):
            for submission in submissions.every(run.run_dir):
                if submission.job_id == job_id and _is_known(submission):
                    return Run(run.path, submission)
    return None


def _near() -> set[str]:
    with contextlib.suppress(OSError):  # somebody has removed the working directory
        return _folders_in({str(Path.cwd() / RUNS)})
    return set()


def _folders_in(parents: Collection[str]) -> set[str]:
    found: set[str] = set()
    for parent in parents:
        with contextlib.suppress(OSError), os.scandir(parent) as entries:
            found.update(entry.path for entry in entries)
    return found


def run_folder(text: str) -> RunDir:
    """The run directory that a person means: any folder with a resolved job, submitted or not, or as `find` takes it.

    Raises:
        SpecError: as `find`.
    """
    path = RunDir(Path(text).absolute())
    return path if _can_open(path.job) else find(text).run_dir


def _can_open(path: Path) -> bool:
    """Whether the file is there; a name that no file can have is none."""
    try:
        path.open("rb").close()
    except PermissionError:
        raise SpecError(f"{path}: you may not read it") from None
    except OSError:
        return False
    return True


def _index() -> Index:
    return Index(state_folder(), _scan)


def _scan(folder: Path) -> Iterator[Entry]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if run := read(RunDir(Path(entry.path))):
                yield run.path, submissions.encode(run.submission)


def _is_known(submission: Submission) -> bool:
    """Whether this version knows its scheduler, and the id is one of that; other runs are passed over."""
    row = SCHEDULERS.get(submission.scheduler)
    return row is not None and row.queues == (submission.job_id != LOCAL_ID)
