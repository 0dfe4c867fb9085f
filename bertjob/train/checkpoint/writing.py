"""Writing that may fail on one rank and must then fail on all: full disks, quotas, broken file systems."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from bertjob.errors import CheckpointError
from bertjob.train.distributed.ranks import Ranks


def write_together(ranks: Ranks, write: Callable[[], object]) -> None:
    """Let every rank write its part; called by all ranks.

    Raises:
        CheckpointError: on all ranks, when one could not write; says which and why.
    """
    trouble = ""
    try:
        write()
    except (OSError, SafetensorError, CheckpointError) as error:
        trouble = write_trouble(error)
    (failed,) = ranks.any(bool(trouble))
    if failed:
        troubles = dict.fromkeys(filter(None, ranks.gather(trouble)))
        raise CheckpointError("; ".join(troubles))


def replace_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    aside.replace(path)


def write_trouble(error: Exception) -> str:
    """Why something could not be written, in words."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
    return next(iter(str(error).splitlines()), type(error).__name__)
