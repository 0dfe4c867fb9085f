"""This machine: the facts that plans are made from."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from bertjob.errors import PreflightError, SpecError
from bertjob.launch.resolve import Here
from bertjob.rundir.directory import RunDir
from bertjob.text import reason

_SHOWN_STEPS = 5
_LINKS = 40
"""Links that Linux follows one after another."""


def working_directory() -> Path:
    """Where relative paths start from.

    Raises:
        PreflightError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise PreflightError(f"the working directory is gone ({reason(error)}): change to another one") from None


def here() -> Here:
    """What a plan needs to know of the machine it is made on.

    Raises:
        PreflightError: the working directory is gone.
    """
    return Here(
        python=sys.executable,
        cwd=str(working_directory()),
        cpus=len(os.sched_getaffinity(0)),
        gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        environment=dict(os.environ),
        is_folder=os.path.isdir,
        run=model_of_run,
        linked=linked,
    )


def model_of_run(name: str) -> str:
    """The folder of the model that a run has trained, or of the checkpoint that follows an ``@``.

    Args:
        name: a run's name, id or path, or the name of its job: then the newest run of it.

    Raises:
        SpecError: there is no such run, or it has no such model (yet).
    """
    from bertjob.cluster.runs import catalog  # reads the index, which most plans need not

    text, _, step = name.partition("@")
    if not text.strip():
        raise SpecError(f"model.init run:{name}: the name of a run or of a job is wanted, as in run:pretrain-seq128")
    of_job = [run for run in catalog.known() if run.name.startswith(f"{text}-")]
    try:
        run_dir = (of_job[-1] if of_job else catalog.find(text)).run_dir
    except SpecError as error:
        raise SpecError(f"model.init run:{name}: {error}") from None
    if not step:
        folder = run_dir.model
    elif step.isdecimal():
        folder = run_dir.checkpoint(int(step)) / run_dir.model.name
    else:
        raise SpecError(f"model.init run:{name}: a step is a number, as in run:{text}@400")
    if not folder.is_dir():
        steps = ", ".join(f"run:{text}@{number}" for number in _steps_with_model(run_dir)[-_SHOWN_STEPS:])
        there = f"there is {steps}" if steps else "the run has no checkpoint yet"
        raise SpecError(f"model.init run:{name}: there is no {folder}; {there}")
    return str(folder)


def _steps_with_model(run_dir: RunDir) -> list[int]:
    """Steps of the checkpoints that hold a model, in order."""
    names = (folder.parent.name for folder in run_dir.checkpoints.glob(f"step-*/{run_dir.model.name}"))
    numbers = (name.removeprefix("step-") for name in names)
    return sorted(int(number) for number in numbers if number.isdecimal())


def linked(path: str) -> list[str]:
    """Folders that the symbolic links at a path, and in it, lead to: the files of a hub's snapshot link to its blobs.

    As the links spell them, since that is how they are followed inside a container.
    """
    place = Path(path)
    try:
        entries = [place, *(place.iterdir() if place.is_dir() else ())]
    except OSError:  # the preflight checks name what cannot be read
        entries = [place]
    ends = {end for entry in entries for end in _hops(entry)}
    return sorted({str(end if end.is_dir() else end.parent) for end in ends} - {path, str(place.parent)})


def _hops(path: Path) -> Iterator[Path]:
    """Where a symbolic link leads, one after another."""
    for _ in range(_LINKS):
        try:
            path = Path(os.path.normpath(path.parent / path.readlink()))  # not resolve(): only this link is followed
        except OSError:  # no link: the end of the way
            return
        yield path
