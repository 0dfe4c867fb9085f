"""Checks of files before a job is queued: better refused now than failed after hours of waiting."""

import os
from collections.abc import Mapping
from pathlib import Path

from bertjob.errors import PreflightError


def check_inputs(inputs: Mapping[str, str]) -> None:
    """The files and folders that a plan needs are there and can be read.

    Args:
        inputs: paths by the key that names them (Plan.inputs).

    Raises:
        PreflightError: one is not; names key and path.
    """
    for key, path in inputs.items():
        complaint = _complaint(key, Path(path))
        if complaint:
            raise PreflightError(f"{key}: {path}: {complaint}")


def _complaint(key: str, path: Path) -> str:
    if not path.exists():
        remedy = "; `bertjob data fetch squad` brings SQuAD" if key.startswith("data.") else ""
        return f"there is no such file or folder{remedy}"
    if not os.access(path, os.R_OK):
        return "you may not read it"
    if key.startswith("data.") and path.is_dir():
        return "is a folder, a file is wanted"
    if key == "model.init" and not (path / "config.json").is_file():
        return "holds no config.json, so it is no model in Hugging Face layout"
    return ""
