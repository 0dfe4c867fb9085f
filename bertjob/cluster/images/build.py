"""What images are built from: the recipe of bertjob's own, or a virtual environment over somebody else's.

The sources of a checkout and those in an installed wheel make the same folder; pyproject.toml says for both where each
part lies.
"""

import contextlib
import os
import posixpath
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bertjob.cluster.guard import removed_if_killed
from bertjob.cluster.images import locks
from bertjob.cluster.images.exec import overlay_folder, starter
from bertjob.cluster.images.locks import Variant
from bertjob.cluster.runs.provenance import repository
from bertjob.config.home import home
from bertjob.config.site import Site
from bertjob.errors import DataError, PreflightError, SpecError
from bertjob.launch.engines import ENGINES, Bind
from bertjob.launch.engines.types import Command
from bertjob.text import reason
from bertjob.version import __version__

WHEELS = "wheels"
"""Folder of wheels in the context."""
_ALONE = ("PIP_CONSTRAINT=", "PIP_EXTRA_INDEX_URL=", "PIP_DISABLE_PIP_VERSION_CHECK=1")
"""For pip with a lock: NGC's images hold it to other versions, and its question for a new pip goes to other indices."""
_PACKAGE = Path(__file__).resolve().parents[2]
_SETTING = re.compile(r"(?m)^([A-Z_]+)=(\S*)$")


@contextmanager
def overlay_commands(
    engine: str,
    ref: str,
    path: str,
    site: Site,
    packages: Sequence[str] = (),
    wheels: Path | None = None,
    mirror: str = "",
    *,
    printed: bool = False,
) -> Iterator[tuple[Command, ...]]:
    """The commands that make an overlay: an environment that sees the image's packages, then bertjob's, then more.

    They can be run while the context is open, since bertjob's sources may be in a folder that goes with it.

    Args:
        engine: name of the engine.
        ref: the image that it is made in, and is for.
        path: folder of the environment; may name variables.
        site: whose mounts are taken.
        packages: more words for pip, e.g. names of packages.
        wheels: a folder of the locks' files that stands in for all indices.
        mirror: of PyPI, in its place.
        printed: nobody runs the commands now.

    Raises:
        PreflightError: the path is relative, or names a variable that is not set here.
        SpecError: as for `context`.
    """
    folder = overlay_folder(path, site)
    above = posixpath.dirname(folder)
    offline = ("--no-index", f"--find-links=/context/{WHEELS}") if wheels else ()
    # Where srun starts the engine, the node must see the sources: below the home, as the engine's own file.
    shared = home() if ENGINES[engine].started_by_srun else None
    with context(wheels, locks.OVERLAY, mirror, printed=printed, parent=shared) as sources:
        binds = (Bind(above, above), Bind(str(sources), "/context", readonly=True))
        with starter(engine, ref, site, binds) as inside:
            env = ("env", "PYTHONNOUSERSITE=1")
            pip = ("python3", "-m", "pip", "--python", f"{folder}/bin/python", "install")
            alone = (*env, *_ALONE, *pip, "--no-deps", "--no-build-isolation")
            index = (*offline, *((f"--index-url={mirror}",) if mirror and not wheels else ()))
            yield (
                # The image's pip works on the environment: not every image has what a new one is made from.
                inside(("python3", "-m", "venv", "--system-site-packages", "--without-pip", folder)),
                # Without dependencies: pip takes NGC's torch for older than it is, and would bring another one.
                *(
                    inside((*alone, "--require-hashes", *offline, f"--requirement=/context/container/{lock}"))
                    for lock in locks.OVERLAY
                ),
                inside((*alone, "--no-index", "/context")),
                *((inside((*env, *pip, *index, *packages)),) if packages else ()),
            )


class Base(msgspec.Struct, frozen=True):
    """An image that bertjob's is built on.

    Attributes:
        ref: with its tag.
        digest: ``sha256:…``; empty while nobody has pinned it.
    """

    ref: str
    digest: str = ""

    @property
    def pinned(self) -> str:
        """By digest where there is one; engines take no tag beside it."""
        return f"{self.ref.rpartition(':')[0]}@{self.digest}" if self.digest else self.ref


class Recipe(msgspec.Struct, frozen=True):
    """The content of container/image.env.

    Attributes:
        name: of bertjob's image.
        bases: by variant.
    """

    name: str
    bases: Mapping[Variant, Base]

    def ref(self, variant: Variant) -> str:
        """Name and tag of bertjob's image."""
        return f"localhost/{self.name}:{__version__}{'-cpu' if variant == 'cpu' else ''}"


def read_recipe() -> Recipe:
    """The name and the bases, from container/image.env."""
    said = dict(_SETTING.findall(_settings().read_text(encoding="utf-8")))
    bases: dict[Variant, Base] = {
        "gpu": Base(said["GPU_BASE"], said["GPU_BASE_DIGEST"]),
        "cpu": Base(said["CPU_BASE"], said["CPU_BASE_DIGEST"]),
    }
    return Recipe(said["NAME"], bases)


def pin(digests: Mapping[Variant, str]) -> Path:
    """Write the bases' digests into container/image.env; gives its path.

    Raises:
        PreflightError: bertjob is installed, and not a checkout.
    """
    path = _settings()
    if not _is_checkout():
        raise PreflightError(f"{path}: belongs to an installed bertjob; pin the digests in a checkout")
    text = path.read_text(encoding="utf-8")
    for variant, digest in digests.items():
        text = re.sub(rf"(?m)^({variant.upper()}_BASE_DIGEST=).*$", rf"\g<1>{digest}", text)
    path.write_text(text, encoding="utf-8")
    return path


def arguments(variant: Variant, base: str, wheels: bool, mirror: str = "") -> dict[str, str]:
    """Arguments of the Dockerfile.

    Args:
        variant: which packages the base lacks.
        base: the image to build on.
        wheels: whether the context has a folder of wheels that stands in for all indices.
        mirror: of PyPI, in its place; empty: none.

    Raises:
        SpecError: the mirror is no address.
    """
    if mirror:
        locks.check_mirror(mirror)
    checkout = repository(_PACKAGE.parent, own="bertjob/__init__.py")
    revision = "" if checkout is None else checkout.commit + "-dirty" * checkout.dirty
    pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"/context/{WHEELS}"} if wheels else {"PIP_INDEX_URL": mirror}
    said = {"BASE_IMAGE": base, "VARIANT": variant, "VERSION": __version__, "REVISION": revision, **pip}
    return {name: value for name, value in said.items() if value}


def check_builder_options(options: Sequence[str]) -> None:
    """Check that words for the builder name no further index: of two, pip takes a package from either.

    Raises:
        SpecError: they do.
    """
    if any(word.removeprefix("--build-arg=").partition("=")[0] == "PIP_EXTRA_INDEX_URL" for word in options):
        raise SpecError(
            "--build-arg PIP_EXTRA_INDEX_URL: every lock has one index only; --index URL names a mirror of it"
        )


@contextlib.contextmanager
def context(
    wheels: Path | None = None,
    names: Sequence[str] = (),
    mirror: str = "",
    *,
    printed: bool = False,
    parent: Path | None = None,
) -> Iterator[Path]:
    """A folder with all that container/Dockerfile copies; it goes at the end.

    Args:
        wheels: a folder of wheels and sources to put in, which has all that the locks name.
        names: of these locks.
        mirror: of PyPI, which the locks name in its place.
        printed: the folder is named in commands that nobody runs now: it shall stay, where it can (`stays`).
        parent: folder in which it is made (default: that of temporary files).

    Raises:
        SpecError: a file is missing among the wheels, or is not the one of the lock; the mirror is no address.
        DataError: the folder cannot be written, or the wheels not read.
    """
    if mirror:
        locks.check_mirror(mirror)
    if wheels is not None:
        container = _sources()["container"]
        locks.check_files(wheels, [locks.read_lock(container / name) for name in names])
    if printed and stays(wheels, mirror):
        yield _PACKAGE.parent
        return
    with tempfile.TemporaryDirectory(prefix=".bertjob-image-", dir=parent) as made, removed_if_killed(made):
        folder = Path(made)
        try:
            for name, source in _sources().items():
                _copy(source, folder / name)
            if wheels is not None:
                shutil.copytree(wheels, folder / WHEELS, copy_function=_link)
            for lock in (folder / "container").glob("*.lock") if mirror else ():
                lock.write_text(locks.with_mirror(lock.read_text(encoding="utf-8"), mirror), encoding="utf-8")
        except OSError as error:
            raise DataError(f"{error.filename or folder}: {reason(error)}") from None
        yield folder


def stays(wheels: Path | None, mirror: str = "") -> bool:
    """Whether there is a folder of sources that stays: a checkout, of which .dockerignore leaves out the rest."""
    return wheels is None and not mirror and _is_checkout()


def _is_checkout() -> bool:
    return (_PACKAGE.parent / "pyproject.toml").is_file()


def _settings() -> Path:
    return _sources()["container"] / "image.env"


def _sources() -> dict[str, Path]:
    """Where each part is, by its place in the folder."""
    checkout = _PACKAGE.parent
    installed = not _is_checkout()
    project = _PACKAGE / "_shipped/pyproject.toml" if installed else checkout / "pyproject.toml"
    hatch = tomllib.loads(project.read_text(encoding="utf-8"))["tool"]["hatch"]
    shipped: dict[str, str] = hatch["build"]["targets"]["wheel"]["force-include"]
    return {"bertjob": _PACKAGE, **{own: checkout / (there if installed else own) for own, there in shipped.items()}}


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "_shipped"))
    else:
        shutil.copy(source, target)


def _link(source: str, target: str) -> None:
    """A second name for the same bytes where the file system allows: wheels of torch are large."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
