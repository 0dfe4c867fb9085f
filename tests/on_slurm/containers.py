"""A container image without a registry and without a build: an empty tree; this machine's programs are mounted into it.

Podman's settings are those that work in a container or a small virtual machine, where crun and raised limits do not.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"podman": "podman", "runc": "runc", "ch-run": "charliecloud"}
"""Command to the Debian package that has it."""
IMAGE = "localhost/bertjob-tiny:1"
PYTHON = Path(sys.prefix, "bin", "python")
"""This Python, which is mounted into the containers."""
IN_STORES = {"image": {"ref": IMAGE}, "python": str(PYTHON)}
"""What a site says of it, for engines whose settings mount this machine's programs into every container."""
OWN_PATH = f"{PYTHON.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The image's own PATH."""
_LINKS = ("bin", "lib", "lib64", "sbin")
_FOLDERS = ("usr", "etc", "tmp", "proc", "sys", "dev", "run", "root")


@dataclass(frozen=True, slots=True)
class Images:
    """The image as each engine wants it.

    Attributes:
        commands: folder of a `podman` that uses the host's own store; the first of PATH.
        settings: file that podman must be told by CONTAINERS_CONF.
        tree: the image as a folder, with a place for each of `mounts`.
    """

    commands: Path
    settings: Path
    tree: Path

    def site_keys(self, engine: str) -> dict[str, object]:
        """What a site says of the image; for Charliecloud also the mounts."""
        if engine != "charliecloud":
            return dict(IN_STORES)
        seen = [{"source": str(path), "readonly": False} for path in mounts()]
        return {"image": {"ref": str(self.tree)}, "python": str(PYTHON), "mounts": seen}


def make(folder: Path, hosts: Iterable[str]) -> Images:
    """Make the image in a store for each host, and as a folder.

    Each node has its own store because podman's locks are in /dev/shm, which is each node's own. The path of `folder`
    must be short: podman takes 50 characters for a store's running state.
    """
    folder.mkdir()
    settings = folder / "containers.conf"
    settings.write_text(_settings(mounts()))
    archive, tree, commands = folder / "tree.tar", folder / "tree", folder / "bin"
    _write_tree(archive)
    for host in hosts:
        store = folder / host
        command = ["podman", f"--root={store}/root", f"--runroot={store}/run", "import"]
        command += [f"--change=ENV PATH={OWN_PATH}", str(archive), IMAGE]
        env = {**os.environ, "CONTAINERS_CONF": str(settings)}
        subprocess.run(command, env=env, check=True, capture_output=True)
    commands.mkdir()
    store = f'"{folder}/$(hostname)"'
    podman = commands / "podman"
    podman.write_text(f'#!/bin/sh\nexec {shutil.which("podman")} --root={store}/root --runroot={store}/run "$@"\n')
    podman.chmod(0o755)
    _write_folder(archive, tree)
    return Images(commands, settings, tree)


def missing() -> dict[str, str]:
    """Commands that are not here, with their packages."""
    return {command: package for command, package in PACKAGES.items() if shutil.which(command) is None}


def _settings(readonly: Iterable[Path]) -> str:
    mounts = ", ".join(f'"{path}:{path}:ro"' for path in readonly)
    return f"""\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
volumes = [{mounts}]
[engine]
{'runtime = "runc"' if shutil.which("runc") else ""}
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def mounts() -> list[Path]:
    """What a program needs to run as it does here: the system, and this Python with its packages and the project."""
    python = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).parents[2]}
    system = [Path("/usr"), *(path for path in map(Path, ("/etc/ld.so.cache", "/etc/alternatives")) if path.exists())]
    return system + sorted(path for path in python if not path.is_relative_to("/usr"))


def _write_tree(path: Path) -> None:
    with tarfile.open(path, "w") as tree:
        for name in _FOLDERS:
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tree.addfile(folder)
        for name in _LINKS:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tree.addfile(link)


def _write_folder(archive: Path, tree: Path) -> None:
    """Charliecloud mounts only over what is there, also its own files of users and hosts."""
    (tree / "ch").mkdir(parents=True)
    (tree / "ch/environment").write_text(f"PATH={OWN_PATH}\n")
    subprocess.run(["tar", "-C", tree, "-xf", archive], check=True)
    for path in (*mounts(), *map(Path, ("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf"))):
        place = tree / path.relative_to("/")
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.touch()
