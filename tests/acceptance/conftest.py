"""An engine of this machine, with an image, for the matrix: see docs/acceptance.md."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "on_slurm"))  # what both need of containers is there

import containers
import ordinary_user
from centre import Centre, User
from engines_here import ADAPTER, MADE, Choice, Settings, choose, settings
from matrix import Matrix, names
from provision import require, unavailable

_CHECKOUT = Path(__file__).parents[2]
_FAKES = Path(__file__).parents[1] / "fakes"
_MAKE = "import sys, pathlib, containers; containers.make(pathlib.Path(sys.argv[1]), sys.argv[2:])"
_TRIES = 60
_ASKED = pytest.StashKey[Settings]()
_CHOICE = pytest.StashKey[Choice]()
_MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    """Settle what is tried, before anything starts."""
    whole = config.option.markexpr == "acceptance"
    asked = settings() if whole else Settings()
    choice = choose(asked) if whole else Choice(MADE[:1])
    config.stash[_ASKED], config.stash[_CHOICE] = asked, choice
    if whole:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # what ends the tests ends them in order
        config.stash[_MATRIX] = Matrix(config, choice.lines)
        config.pluginmanager.register(config.stash[_MATRIX], "matrix")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The tests for each engine."""
    if "engine" in metafunc.fixturenames:
        metafunc.parametrize("engine", metafunc.config.stash[_CHOICE].engines, scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What a row is called goes with its reports."""
    for item in items:
        if item.get_closest_marker("row"):
            item.user_properties.extend(zip(("engine", "what"), names(item), strict=True))


@pytest.fixture(scope="session")
def asked(pytestconfig: pytest.Config) -> Settings:
    """What ENGINE, IMAGE, SITE and WORK say."""
    return pytestconfig.stash[_ASKED]


@pytest.fixture(scope="session")
def work(asked: Settings, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The folder of all that the tests write; it stays where a row has failed."""
    parent = asked.work or (_CHECKOUT if asked.queues else None)
    folder = Path(tempfile.mkdtemp(prefix=".acceptance-", dir=parent)).resolve()
    folder.chmod(0o755)
    yield folder
    if request.session.testsfailed and (matrix := request.config.stash.get(_MATRIX, None)):
        matrix.left = str(folder)
    else:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def store() -> Iterator[Path]:
    """A folder for the images that are made here: podman takes 50 characters at most."""
    folder = Path(tempfile.mkdtemp(prefix="bja", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for _ in range(_TRIES):  # containers that were interrupted are cleaned up by processes of their own
        for mounted in folder.glob("*/*/root/overlay*"):
            subprocess.run(["umount", "--lazy", mounted], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(1)


@pytest.fixture(scope="session")
def own_images(store: Path) -> containers.Images:
    """The small image, in a store of podman's and as a folder."""
    return containers.make(store / "i", [socket.gethostname()])


@pytest.fixture(scope="session")
def user(asked: Settings, store: Path) -> Iterator[User]:
    """An ordinary user: who runs the tests, or for root somebody else, with a home."""
    if os.geteuid() != 0:
        yield User(os.geteuid())
        return
    if asked.queues:
        pytest.skip("run it as an ordinary user: root's jobs are root's")
    if asked.has_image and not asked.keys["image"]["ref"].startswith("/"):
        pytest.skip("run it as an ordinary user: the image is in root's store")
    uid, home = next(ordinary_user.free_uids()), store / "h"
    home.mkdir()
    shown = [_CHECKOUT, *(path for path in containers.mounts() if not path.is_relative_to(_CHECKOUT))]
    before = ordinary_user.words(uid, home, [path for path in shown if path.is_dir()])
    yield User(uid, before)
    pause = home / "runtime/libpod/tmp/pause.pid"  # by which podman keeps the user's namespaces
    if pause.exists():
        os.kill(int(pause.read_text()), signal.SIGKILL)


@pytest.fixture(scope="session")
def users_images(user: User, store: Path, request: pytest.FixtureRequest) -> containers.Images:
    """The same images, made by the ordinary user."""
    if not user.before:
        made: containers.Images = request.getfixturevalue("own_images")
        return made
    folder = store / "h/i"
    command = (*user.before, sys.executable, "-c", _MAKE, str(folder), socket.gethostname())
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, Path(containers.__file__).parents[:1]))}
    subprocess.run(command, env=environment, cwd="/", check=True)
    return containers.Images(folder / "bin", folder / "containers.conf", folder / "tree")


@pytest.fixture
def centre(engine: str, asked: Settings, work: Path, request: pytest.FixtureRequest) -> Iterator[Centre]:
    """The machine as whoever runs the tests has it: bertjob, a site with the engine, and an image."""
    yield from _centre(engine, asked, work, request, User(os.geteuid()), "own_images")


@pytest.fixture
def users_centre(
    engine: str, asked: Settings, work: Path, user: User, request: pytest.FixtureRequest
) -> Iterator[Centre]:
    """The machine as an ordinary user has it."""
    yield from _centre(engine, asked, work, request, user, "users_images")


def _centre(
    engine: str, asked: Settings, work: Path, request: pytest.FixtureRequest, user: User, images: str
) -> Iterator[Centre]:
    folder = work / re.sub(r"\W+", "-", request.node.name)
    folder.mkdir()
    os.chown(folder, user.uid, -1)
    name = "sarus" if engine == ADAPTER else engine
    keys = asked.keys | {"name": "acceptance", "engine": name}
    environment = {"XDG_STATE_HOME": str(folder / "state")}
    if not asked.has_image:
        if request.node.get_closest_marker("acceptance") is None:
            require(containers.missing(), "containers")  # of every run of the tests
            if os.geteuid() != 0:
                unavailable("the small image is made by root")
        made: containers.Images = request.getfixturevalue(images)
        keys |= made.site_keys(name)
        first = f"{_FAKES}:" if engine == ADAPTER else ""
        environment["CONTAINERS_CONF"] = str(made.settings)
        environment["PATH"] = f"{first}{made.commands}:{containers.PYTHON.parent}:{os.environ['PATH']}"
    centre = Centre(folder, keys, user, environment)
    yield centre
    centre.end()
