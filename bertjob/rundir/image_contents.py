"""What an image holds, as seen from inside of it, and what training needs of it."""

from collections.abc import Mapping

import msgspec

from bertjob.config.job import Library
from bertjob.version import __version__

OLDEST_PYTHON = (3, 11)
"""Of those that bertjob runs on."""
NEEDED = ("bertjob", "torch", "transformers", "tokenizers", "safetensors", "numpy", "msgspec", "PyYAML", "psutil")
"""Distributions without which no job trains."""
OPTIONAL = ("deepspeed", "mpi4py", "tensorboard")
"""Distributions that some jobs need."""

_COMPARED = (*NEEDED, *OPTIONAL)


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a program found that was started in the image.

    Attributes:
        python: version of the Python that would train, e.g. ``3.12.3``.
        prefix: the folder that this Python belongs to (`sys.prefix`); empty where it was not told.
        packages: versions by distribution, of NEEDED and OPTIONAL those that are there.
        broken: why a package that is there cannot be imported, in one line each.
        cuda: version that torch was built for; None: for CPUs or ROCm.
        rocm: version that torch was built for; None: for CPUs or CUDA.
        nccl: version that torch was built with; None without.
        gpus: names of the GPUs that torch sees, and their compute capabilities.
        architectures: GPU architectures that torch was compiled for, e.g. ``sm_90``.
        mpi: the MPI of the image; its family is None where there is none.
        mpi_said: the MPI's own first line.
    """

    python: str
    prefix: str = ""
    packages: Mapping[str, str] = {}
    broken: Mapping[str, str] = {}
    cuda: str | None = None
    rocm: str | None = None
    nccl: str | None = None
    gpus: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    mpi: Library = Library()
    mpi_said: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """What training cannot do without and the image lacks, in one line each."""
        found = [f"{name}: {self.broken.get(name, 'is not installed')}" for name in NEEDED if self._lacks(name)]
        if tuple(map(int, self.python.split(".")[:2])) < OLDEST_PYTHON:
            found.insert(0, f"Python is {self.python}, {'.'.join(map(str, OLDEST_PYTHON))} or newer is wanted")
        return tuple(found)

    @property
    def absent(self) -> tuple[str, ...]:
        """What some jobs need and the image lacks, in one line each."""
        return tuple(f"{name}: {self.broken.get(name, 'is not installed')}" for name in OPTIONAL if self._lacks(name))

    @property
    def outdated(self) -> str:
        """The word on a bertjob in the image that is not this one, whose jobs it may not understand; empty if it is."""
        there = self.packages.get("bertjob", __version__)
        return "" if there == __version__ else f"this one is {__version__}: its jobs may have keys unknown there"

    def differences(self, other: "ImageFacts") -> tuple[str, ...]:
        """What is another software in `other`, which may know less: ``torch 2.6.0 -> 2.7.1``."""
        pairs = [("Python", self.python, other.python), ("sys.prefix", self.prefix, other.prefix)]
        pairs += [(name, self.packages.get(name, "none"), other.packages.get(name, "none")) for name in _COMPARED]
        return tuple(f"{name} {own} -> {there}" for name, own, there in pairs if own != there and own)

    def _lacks(self, name: str) -> bool:
        return name not in self.packages or name in self.broken
