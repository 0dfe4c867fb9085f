"""Going on with a run: what must be as it was, and the command that goes on."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from bertjob.config.job import Job
from bertjob.rundir.directory import RunDir

_FREE = (
    *("name", "description", "engine", "launcher", "image", "env", "env_from", "resources", "checkpoint", "evaluation"),
    *("mpi", "srun_mpi", "data.cache", "train.micro_batch", "train.log_every"),
    *(f"model.kernel.{flag}" for flag in ("normalize_invertible", "attn_dropout_checkpoint", "gelu_checkpoint")),
)
"""Keys and sections that say where and how a training runs and what is kept of it; all others decide its course."""


def differences(old: Job, new: Job) -> list[str]:
    """What would turn a training into another one, a line for each key: ``seed was 42, is now 7``.

    Args:
        old: the resolved job that the run was started with.
        new: the resolved job that is to go on in its place.
    """
    was, now = dict(_leaves(msgspec.to_builtins(old))), dict(_leaves(msgspec.to_builtins(new)))
    return [
        f"{key} was {_shown(was.get(key))}, is now {_shown(now.get(key))}"
        for key in was | now
        if not _free(key) and was.get(key) != now.get(key)
    ]


def command(run_dir: RunDir, *, submitted: bool = False) -> str:
    """The command line, quoted for a shell, that goes on with a run as it was: here, or by the run's scheduler."""
    verb = "submit" if submitted else "run"
    return shlex.join(["bertjob", verb, str(run_dir.job), "--site", str(run_dir.site), "--run-dir", str(run_dir.path)])


def elsewhere(*, submitted: bool = True) -> str:
    """What happened to a job's run directory that is not at its path, with the command that helps."""
    anywhere = command(RunDir(Path("DIR")), submitted=submitted)
    return f"the job's run directory is not there: it was moved or removed; with DIR for where it is now: {anywhere}"


def _free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in _FREE)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else key)
    elif value != {}:  # an empty section says nothing
        yield path, value


def _shown(value: Any) -> str:
    return "not said" if value is None else str(value)
