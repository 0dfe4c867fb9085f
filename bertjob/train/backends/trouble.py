"""What went wrong with a back end's files, as one line."""

import shutil
from pathlib import Path

from bertjob.errors import CheckpointError


def cannot_write(path: Path, error: Exception) -> CheckpointError:
    """For a file that could not be written; names the room left, for torch's writer does not say "disk full"."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    return CheckpointError(f"{path} cannot be written ({free / 1e6:.0f} MB free there): {first_line(error)}")


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
