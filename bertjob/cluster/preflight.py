"""Checks of files before a job is queued: better refused now than failed after hours of waiting."""

import os
from pathlib import Path

from bertjob.errors import PreflightError
from bertjob.spec.job import Job


def check_files(job: Job) -> None:
    """The data and model files that a job names are there and can be read.

    Names that hold variables can only be checked on the nodes; names without a slash may be on a hub.

    Raises:
        PreflightError: one is not; names key and path.
    """
    for key, value in (("data.train", job.data.train), ("data.dev", job.data.dev), ("model.vocab", job.model.vocab)):
        if value is not None and value != "demo" and "$" not in value:
            _check_file(key, Path(value))
    init = job.model.init
    if init.startswith(("/", "./", "../")) and "$" not in init:
        _check_model(Path(init))


def _check_file(key: str, path: Path) -> None:
    if not path.exists():
        remedy = "; `bertjob data fetch squad` brings SQuAD" if key.startswith("data.") else ""
        raise PreflightError(f"{key}: {path}: there is no such file{remedy}")
    if not path.is_file():
        raise PreflightError(f"{key}: {path}: is a folder, a file is wanted")
    if not os.access(path, os.R_OK):
        raise PreflightError(f"{key}: {path}: you may not read it")


def _check_model(path: Path) -> None:
    if not path.is_dir():
        raise PreflightError(f"model.init: {path}: there is no such folder")
    if not (path / "config.json").is_file():
        raise PreflightError(f"model.init: {path}: has no config.json, so it is no model in Hugging Face layout")
