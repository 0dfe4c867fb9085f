"""This machine: the facts that plans are made from."""

import os
import sys
from pathlib import Path

from bertjob.errors import PreflightError
from bertjob.launch.resolve import Here


def working_directory() -> Path:
    """Where relative paths start from.

    Raises:
        PreflightError: somebody has removed it.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise PreflightError(f"the working directory is gone ({error.strerror}): change to another one") from None


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
    )
