"""bertjob's CPU image, built for real without a registry: a Debian base, and wheels in place of an index.

Podman's store and settings are the test's own; see containers.py for why they are as they are.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertjob.cluster.images.locks import VARIANTS

PACKAGES = {"podman": "podman", "runc": "runc", "mmdebstrap": "mmdebstrap"}
"""Command to the Debian package that has it."""
BASE = "localhost/debian:bookworm"
ROOT = Path(__file__).resolve().parents[2]
_INCLUDED = "ca-certificates,python3,python3-pip,openmpi-bin"
_QUICKLY = ("--dpkgopt=force-unsafe-io", *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "man")))


def missing() -> dict[str, str]:
    """Commands that are not here, with their packages."""
    return {command: package for command, package in PACKAGES.items() if shutil.which(command) is None}


@contextmanager
def store() -> Iterator[dict[str, str]]:
    """An empty store of podman's; gives the variables that lead podman to it."""
    with tempfile.TemporaryDirectory(prefix="bji", dir="/tmp") as made:  # podman takes 50 characters at most
        folder = Path(made)
        (folder / "containers.conf").write_text(
            '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        )
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/root"\nrunroot = "{folder}/run"\n'
        )
        variables = {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        }
        try:
            yield variables
        finally:
            for mounted in (folder / "root/overlay", folder / "root/overlay-containers"):
                subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)


def make_base(folder: Path, environment: dict[str, str]) -> str:
    """A plain Debian with Python, pip and Open MPI, as an image in the store."""
    tree = folder / "debian.tar"
    _run(["mmdebstrap", "--variant=minbase", *_QUICKLY, f"--include={_INCLUDED}", "bookworm", tree], environment)
    _run(["podman", "import", tree, BASE], environment)
    tree.unlink()
    return BASE


def make_wheels(folder: Path) -> Path:
    """All that the locks of the CPU variant name, as the index has it, or a folder that pip is led to here."""
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--retries=1", "--no-deps", "--require-hashes")
    for lock in VARIANTS["cpu"]:
        _run([*pip, "--dest", folder, f"--requirement={ROOT}/container/{lock}"], {**os.environ, "DS_BUILD_OPS": "0"})
    return folder


def _run(command: list[str | Path], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stderr[-2000:]}"
