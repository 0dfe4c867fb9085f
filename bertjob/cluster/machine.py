"""This machine: the facts that plans are made from."""

import os
import sys
from pathlib import Path

from bertjob.launch.resolve import Here


def here() -> Here:
    """What a plan needs to know of the machine it is made on."""
    return Here(
        python=sys.executable,
        cwd=str(Path.cwd()),
        cpus=len(os.sched_getaffinity(0)),
        gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        environment=dict(os.environ),
    )
