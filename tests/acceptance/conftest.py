"""An engine of this machine, with an image, for the matrix; see README.

ENGINE names engines (default: those that are here), IMAGE their image with bertjob in it, SITE a site file, for its
modules, mounts and scheduler. Without IMAGE a small one is made, for root, of this machine's own programs.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bertjob.launch.engines import ENGINES

sys.path.append(str(Path(__file__).parents[1] / "on_slurm"))  # what both need of containers is there

import containers
from centre import Centre
from provision import require, unavailable

MADE = ("podman", "charliecloud", "sarus")
"""Engines for which an image is made here: the last by the adapter in tests/fakes, where there is no real one."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests for each engine; those of every run of the tests for the first."""
    if "engine" in metafunc.fixturenames:
        some = engines() if metafunc.definition.get_closest_marker("acceptance") else engines()[:1]
        metafunc.parametrize("engine", some, scope="session")


def engines() -> list[str]:
    """Those that are named, or else those that can be tried here."""
    if named := os.environ.get("ENGINE"):
        return named.replace(",", " ").split()
    if os.environ.get("IMAGE"):
        raise pytest.UsageError("IMAGE is the image of one engine: say ENGINE=… as well")
    return list(MADE)


@pytest.fixture(scope="session")
def tiny_images() -> Iterator[containers.Images]:
    """The small image, in a store of podman's and as a folder."""
    require(containers.missing(), "containers")
    if os.geteuid() != 0:
        unavailable("say IMAGE=…, an image with bertjob in it: only root can make one here")
    with tempfile.TemporaryDirectory(prefix="bja", dir="/tmp") as folder:  # podman takes 50 characters at most
        made = containers.make(Path(folder, "i"), [socket.gethostname()])
        yield made
        for mounted in Path(folder, "i", socket.gethostname(), "root").glob("overlay*"):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)


@pytest.fixture
def centre(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Centre:
    """The machine as a user of a centre has it: bertjob, a site with the engine, and an image."""
    site = os.environ.get("SITE")
    keys = yaml.safe_load(Path(site).read_text()) if site else {"scheduler": "none", "launcher": "local"}
    keys |= {"name": "acceptance", "engine": engine}
    if image := os.environ.get("IMAGE"):
        keys["image"] = {**keys.get("image", {}), "ref": image}
    elif "image" not in keys:
        images: containers.Images = request.getfixturevalue("tiny_images")
        keys |= images.site_keys(engine)
        monkeypatch.setenv("CONTAINERS_CONF", str(images.settings))
        adapter = Path(__file__).parents[1] / "fakes"
        path = f"{images.commands}:{containers.PYTHON.parent}:{os.environ['PATH']}"
        monkeypatch.setenv("PATH", path if shutil.which("sarus") else f"{adapter}:{path}")
    program = ENGINES[engine].program  # type: ignore[index]
    if program and not keys.get("modules") and shutil.which(program) is None:
        unavailable(f"engine {engine}: there is no {program} here")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Centre(tmp_path, json.loads(json.dumps(keys)))
