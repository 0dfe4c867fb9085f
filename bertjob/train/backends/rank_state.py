"""The optimizer state that each rank has of its own: one file per rank beside the common state."""

import io
import resource
import shutil
from pathlib import Path
from typing import Any

import torch

from bertjob.errors import CheckpointError
from bertjob.text import reason


def cannot_write(path: Path, error: Exception) -> CheckpointError:
    """For a file that could not be written; names the room left, for torch's writer does not say "disk full"."""
    free = shutil.disk_usage(path.parent).free if path.parent.is_dir() else 0
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = "" if limit == resource.RLIM_INFINITY else f", and RLIMIT_FSIZE allows {limit / 1e6:.0f} MB per file"
    return CheckpointError(f"{path} cannot be written ({free / 1e6:.0f} MB free there{most}): {reason(error)}")


def save_own(folder: Path, rank: int, own: dict[str, Any] | None) -> None:
    """Write it, where there is something.

    Raises:
        CheckpointError: it cannot be written.
    """
    if own is None:
        return
    buffer = io.BytesIO()  # torch's own writer turns an OSError into a RuntimeError
    torch.save(own, buffer)
    try:
        _file(folder, rank).write_bytes(buffer.getbuffer())
    except OSError as error:
        raise cannot_write(_file(folder, rank), error) from error


def load_own(folder: Path, rank: int) -> dict[str, Any] | None:
    """Read it; None where this rank has no file.

    Raises:
        OSError: it cannot be read.
        RuntimeError: it is damaged.
    """
    file = _file(folder, rank)
    return torch.load(file, map_location="cpu", weights_only=True) if file.exists() else None


def _file(folder: Path, rank: int) -> Path:
    return folder / f"optimizer-{rank:05d}.pt"
