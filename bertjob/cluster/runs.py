"""Run directories: make one or nothing, read one, find one by what a person calls it."""

import contextlib
import os
import secrets
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bertjob.cluster.index import Entry, Index, state_folder
from bertjob.errors import PreflightError, SpecError
from bertjob.spec.layout import RunDir
from bertjob.spec.nearest import did_you_mean


class Submission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of submissions.jsonl: a run was handed to a scheduler, or started on a machine."""

    job_id: str
    """The scheduler's id; ``local`` without a scheduler."""
    site: str
    scheduler: Literal["slurm", "none"]
    time: float
    """Seconds since the epoch."""
    host: str
    """Where it was submitted or started."""
    pid: int = 0
    """The process group of a local run."""


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
        return self.run_dir.name

    @property
    def local(self) -> bool:
        """The run has no scheduler."""
        return self.submission.scheduler == "none"


def new_run_dir(folder: Path, job_name: str, now: float | None = None) -> RunDir:
    """A path no run has: ``NAME-20261120-101500-3fa9``; makes nothing."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return RunDir(folder.absolute() / f"{job_name}-{stamp}-{secrets.token_hex(2)}")


@contextlib.contextmanager
def made(run_dir: RunDir, files: Mapping[str, str | bytes]) -> Iterator[None]:
    """Make the run directory with its files and its logs folder; when the body fails, nothing of it is left.

    Folders above it that were made for it go as well.

    Raises:
        PreflightError: the folder is there already, or cannot be made.
    """
    above = [folder for folder in run_dir.path.parents if not folder.exists()]
    try:
        run_dir.path.parent.mkdir(parents=True, exist_ok=True)
        run_dir.path.mkdir()
    except FileExistsError:
        raise PreflightError(f"{run_dir.path}: there is something already; choose another --run-dir") from None
    except OSError as error:
        _remove_empty(above)
        raise PreflightError(f"{run_dir.path}: the run directory cannot be made: {error.strerror}") from None
    try:
        run_dir.logs.mkdir()
        for name, content in files.items():
            (run_dir.path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        yield
    except BaseException:
        shutil.rmtree(run_dir.path, ignore_errors=True)
        _remove_empty(above)
        raise


def _remove_empty(folders: Collection[Path]) -> None:
    for folder in folders:  # the deepest first
        with contextlib.suppress(OSError):
            folder.rmdir()


def record(run_dir: RunDir, *, job_id: str, site: str, scheduler: Literal["slurm", "none"], pid: int = 0) -> Run:
    """Write down that the run was submitted or started: in its directory, which is the truth, and in the index."""
    submission = Submission(
        job_id=job_id, site=site, scheduler=scheduler, time=time.time(), host=socket.gethostname(), pid=pid
    )
    with run_dir.submissions.open("ab") as file:
        file.write(msgspec.json.encode(submission) + b"\n")
    run = Run(str(run_dir.path), submission)
    _index().add(run.path, msgspec.json.encode(submission))
    return run


def read(run_dir: RunDir) -> Run | None:
    """The run by its directory alone; None where nothing was submitted yet, or what is there cannot be read."""
    try:
        lines = run_dir.submissions.read_bytes().splitlines()
        return Run(str(run_dir.path), msgspec.json.decode(lines[-1], type=Submission))
    except (OSError, IndexError, msgspec.DecodeError):
        return None


def known() -> list[Run]:
    """All runs of this user that are still there, the oldest first."""
    runs = []
    for path, submission in _index().entries():
        with contextlib.suppress(msgspec.DecodeError):
            run = Run(path, _DECODER.decode(submission))
            if os.path.exists(path):  # noqa: PTH110  # ten times as quick as Path.exists, for thousands of runs
                runs.append(run)
    return sorted(runs, key=lambda run: run.submission.time)


def rebuild(folders: Collection[Path]) -> int:
    """Make the index anew from the run directories in `folders` and in those it knew; says how many there are."""
    return _index().rebuild([folder.absolute() for folder in folders])


def find(text: str) -> Run:
    """The run that a person means by a path, a run's name, a scheduler's id or the beginning of a name.

    The newest run has an id that several have: schedulers count anew when they are set up again.

    Raises:
        SpecError: no run is called so, or several are; names the nearest or some of them.
    """
    if run := read(RunDir(Path(text).absolute())):
        return run
    runs = known()
    if not runs:
        raise SpecError(f"{text}: no such run: none has been started yet, or give the path of its directory")
    if same := [run for run in runs if run.name == text or (run.submission.job_id == text and not run.local)]:
        return same[-1]
    alike = [run for run in runs if run.name.startswith(text)]
    if len(alike) == 1:
        return alike[0]
    if alike:
        newest = ", ".join(run.name for run in reversed(alike[-4:]))
        raise SpecError(f"{text}: {len(alike)} runs begin like this, the newest are {newest}")
    raise SpecError(f"{text}: no such run: {did_you_mean(text, [run.name for run in runs[-8:]])}")


def _index() -> Index:
    return Index(state_folder(), _scan)


def _scan(folder: Path) -> Iterator[Entry]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if run := read(RunDir(Path(entry.path))):
                yield run.path, msgspec.json.encode(run.submission)


_DECODER = msgspec.json.Decoder(Submission)
