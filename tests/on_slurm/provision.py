"""What tests need from outside: installed when it may be, else skipped with instructions, never skipped in CI."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from slurm import lab


def unavailable(what: str) -> NoReturn:
    """Skip; in CI fail, because there a skipped cluster test would hide a broken job script."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the cluster tests: {what}")
    pytest.skip(what)


def require(packages: dict[str, str], purpose: str) -> None:
    """Install the Debian packages of missing commands when this process may, else skip and say how."""
    if not packages:
        return
    names = sorted(set(packages.values()))
    if os.geteuid() != 0 or not Path("/usr/bin/apt-get").exists():
        unavailable(
            f"{purpose} needs Debian's packages: sudo apt-get install --no-install-recommends {' '.join(names)}"
        )
    print(f"\ninstalling for {purpose}: {' '.join(names)}", file=sys.stderr)
    try:
        lab.install(names)
    except lab.LabError as error:
        unavailable(f"{purpose}: {error}")
