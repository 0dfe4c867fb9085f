"""Make a run directory, or nothing."""

import contextlib
import os
import secrets
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from bertjob.cluster import claim as claims
from bertjob.cluster.host.here import working_directory
from bertjob.cluster.images.seen import recall
from bertjob.cluster.runs import contents, provenance
from bertjob.config.load import dump
from bertjob.errors import PreflightError, SchedulerError, UncertainError
from bertjob.launch.plan import Plan
from bertjob.launch.script import script
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.job_log import reserve_room
from bertjob.rundir.lease import Holder
from bertjob.rundir.provenance import encode
from bertjob.rundir.state import reserve_state
from bertjob.text import reason

_PRIVATE = 0o600


class Private(str):
    """Text of a file that only its owner may read."""

    __slots__ = ()


_LEASE, _JOB = "lease.json", "job.yaml"
_FIRST = {_LEASE, lease.TURN, "logs"}
"""What is in a run directory before its job is."""


def of(plan: Plan) -> RunDir:
    """The run directory of a plan; only scripts for others to submit are planned without one."""
    assert plan.run_dir is not None
    return RunDir(Path(plan.run_dir))


def new_run_dir(folder: Path, job_name: str, now: float | None = None) -> RunDir:
    """A path that no run has, like ``squad-20261120-101500-3fa9``; makes nothing.

    Raises:
        PreflightError: the working directory is gone.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return RunDir(working_directory() / folder / f"{job_name}-{stamp}-{secrets.token_hex(2)}")


def files(plan: Plan, run_dir: RunDir, digest: str | None) -> dict[str, str | bytes]:
    """The content of the files of a run directory, by their names; private ones where it holds values of variables.

    Args:
        plan: how the run starts.
        run_dir: where it is.
        digest: of its image (images.engine.digest_of).
    """
    image = None if plan.engine == "none" else plan.image
    origin = provenance.collect(plan.job.name, plan.site.name, image, image_digest=digest)
    known = replace(origin, image_facts=None if image is None else recall(plan, digest))
    text = Private if plan.private else str
    return {
        run_dir.job.name: text(plan.job_file),
        run_dir.site.name: text(dump(plan.site)),
        run_dir.script.name: text(script(plan)),
        run_dir.provenance.name: encode(known),
        run_dir.git_diff.name: provenance.git_diff(Path.cwd()),
    }


@contextlib.contextmanager
def made(run_dir: RunDir, content: Mapping[str, str | bytes]) -> Iterator[Holder]:
    """Make and claim a run directory as `make` does, for a job that the body queues; undone when that is refused.

    Any other failure, UncertainError among them, leaves all as it is, since a job may have begun.

    Raises:
        PreflightError: as for `make`.
    """
    made = make(run_dir, content, job_id="")
    try:
        yield made.claim
    except UncertainError:
        raise
    except SchedulerError:
        made.undo.close()
        raise


class Made(NamedTuple):
    """A run directory that was made for a job, which is about to begin there."""

    claim: Holder
    """Its lease, until the job takes it."""
    undo: contextlib.ExitStack
    """Undoes it when it is closed, so that nothing is left: a new run directory goes, with the folders that were made
    above it, and an old one has its former files. What another job has taken over stays, and a run directory that
    holds more than bertjob and a start that was refused have written."""


def make(run_dir: RunDir, content: Mapping[str, str | bytes], job_id: str) -> Made:
    """Make a run directory with its files, or renew the files of a run that goes on; nobody else is at work there.

    Args:
        run_dir: its path.
        content: files by their names.
        job_id: of the job that is about to begin; empty where the scheduler has not named it yet.

    Raises:
        PreflightError: the folder cannot be made, or holds something that is no run, or another job is at work there.
    """
    with contextlib.ExitStack() as undo:
        try:
            is_new = not run_dir.job.exists()
            if is_new:
                _make_folder(run_dir.path, undo)
            claim, former = claims.claim(run_dir, job_id)
            is_new = is_new and not run_dir.job.exists()
            if is_new:
                undo.callback(_remove, run_dir, claim)
            else:
                undo.callback(_restore, run_dir, _former(run_dir, content), claim, former)
            run_dir.logs.mkdir(exist_ok=True)
            _write(run_dir.path, content)
            reserve_state(run_dir.state)
            reserve_room(run_dir)
        except FileExistsError as error:
            raise PreflightError(f"{error.filename}: is there and no run directory; choose another --run-dir") from None
        except OSError as error:
            raise PreflightError(f"{run_dir.path}: the run directory cannot be made: {reason(error)}") from None
        return Made(claim, undo.pop_all())


def _former(run_dir: RunDir, names: Iterable[str]) -> dict[str, bytes]:
    return {name: (run_dir.path / name).read_bytes() for name in names if (run_dir.path / name).exists()}


def _make_folder(path: Path, undo: contextlib.ExitStack) -> None:
    undo.callback(_remove_empty, [folder for folder in path.parents if not folder.exists()])
    path.parent.mkdir(parents=True, exist_ok=True)
    # An empty folder may have been made for us; or another process makes this run now, and only one can claim it.
    path.mkdir(exist_ok=path.is_dir() and _may_be_claimed({entry.name for entry in path.iterdir()}))
    undo.callback(_remove_empty, [path])


def _may_be_claimed(names: set[str]) -> bool:
    """Whether a folder holds nothing yet, or is being made a run directory at this moment: then the claim decides."""
    return _JOB in names or all(name in _FIRST or name.startswith(f".{_LEASE}") for name in names)


def _remove(run_dir: RunDir, claim: Holder) -> None:
    with contextlib.suppress(OSError):
        found = lease.read(run_dir)
        if found is not None and lease.belongs(found, claim):
            contents.remove_unstarted(run_dir)


def _restore(run_dir: RunDir, files: Mapping[str, str | bytes], claim: Holder, former: Holder | None) -> None:
    with contextlib.suppress(OSError):
        found = lease.read(run_dir)
        if found is not None and lease.belongs(found, claim):
            _write(run_dir.path, files)
            lease.put_back(run_dir, claim, former)


def _write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        if isinstance(content, Private):  # closed before there is anything to read
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, _PRIVATE))
            path.chmod(_PRIVATE)
        path.write_bytes(content.encode(errors="surrogateescape") if isinstance(content, str) else content)


def _remove_empty(folders: Collection[Path]) -> None:
    for folder in folders:  # the deepest first
        with contextlib.suppress(OSError):
            folder.rmdir()
