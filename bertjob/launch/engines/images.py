"""What each engine does with images: verbs to commands; where an engine has no such verb, what to do instead.

An engine's row of `IMAGES` has for each verb a small function from `Order` to commands, or one line for people.
"""

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from bertjob.errors import PreflightError
from bertjob.launch.engines import ENGINES
from bertjob.launch.engines.references import PATH, TYPED, URI, Form, enroot

Verb = Literal["build", "pull", "load", "list", "digest"]
Command = tuple[str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of an engine.

    Attributes:
        ref: the image, as a registry names it: ``[HOST/]NAME[:TAG]``.
        file: where the image goes with engines whose images are files.
        archive: a docker-archive, to load from or (building) to leave behind for another machine.
        archived: the image's name in that archive, where it is known.
        context: folder to build from.
        arguments: of the Dockerfile.
        extra: more options of the builder, as they are.
    """

    ref: str = ""
    file: str = ""
    archive: str = ""
    archived: str = ""
    context: str = ""
    arguments: Mapping[str, str] = {}
    extra: tuple[str, ...] = ()


Action = Callable[[Order], tuple[Command, ...]] | str
"""Commands in their order, or what to do where the engine has no such verb."""


class Images(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        actions: by verb.
        suffix: of image files; none where the engine keeps images in a store of its own.
        loaded: how a job names an image that was loaded from an archive.
        row: the words of a line of the digest's output that belong to an order; none where it answers for one image.
    """

    actions: Mapping[Verb, Action]
    suffix: str = ""
    loaded: Callable[[str], str] = lambda ref: ref
    row: Callable[[Order], tuple[str, ...]] = lambda order: ()


def commands(engine: str, verb: Verb, order: Order) -> tuple[Command, ...]:
    """The commands of a verb.

    Raises:
        PreflightError: the engine has no such verb; says what to do instead.
    """
    action = IMAGES[engine].actions[verb]
    if isinstance(action, str):
        raise PreflightError(f"engine {engine}: {action}")
    return action(order)


def pulled(engine: str) -> tuple[Form, ...]:
    """Forms of the images that a pull takes: a path brings nothing, and shifter's own words come from the pull."""
    return tuple(form for form in ENGINES[engine].images if form not in (PATH, TYPED))


def image_file(engine: str, ref: str) -> str:
    """Name of the file that an image becomes: ``pytorch-24.11-py3.sif``; empty where the engine has a store."""
    suffix = IMAGES[engine].suffix
    return re.sub(r"[:@]", "-", posixpath.basename(ref)) + suffix if suffix else ""


def in_job(engine: str, order: Order) -> str:
    """What `image.ref` of a job is, after the order was built, pulled or loaded."""
    if order.file:
        return order.file
    return IMAGES[engine].loaded(order.ref) if order.archive and not order.context else order.ref


def find_digest(engine: str, order: Order, output: str) -> str | None:
    """The digest in what the commands of ``digest`` printed: ``sha256:…``."""
    words = IMAGES[engine].row(order)
    for line in output.splitlines():
        if line.split()[: len(words)] == list(words) and (match := _DIGEST.search(line)):
            return f"sha256:{match[1]}"
    return None


_DIGEST = re.compile(r"\b(?:sha256:)?([0-9a-f]{64})\b")
_ELSEWHERE = (
    "builds no images: build where podman or docker is (`bertjob image build --site local --archive FILE.tar`),"
    " copy the archive here, then `bertjob image load FILE.tar`"
)
_FILES = "images are files: their digest is that of the file"


def _podman(command: str) -> dict[Verb, Action]:
    def build(order: Order) -> tuple[Command, ...]:
        return ((*(command, "build", "--tag", order.ref), *_recipe(order)), *_saved(command, order))

    return {
        "build": build,
        "pull": lambda order: ((command, "pull", order.ref),),
        "load": lambda order: ((command, "load", "--input", order.archive), *_tagged(command, order)),
        "list": lambda order: ((command, "images", "--digests"),),
        "digest": lambda order: ((command, "image", "inspect", "--format", "{{.Digest}}", order.ref),),
    }


def _docker() -> dict[Verb, Action]:
    # An image that was neither pulled nor pushed has no digest of a registry, only its own id.
    either = "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}"
    return {
        **_podman("docker"),
        "digest": lambda order: (("docker", "image", "inspect", "--format", either, order.ref),),
    }


def _podman_hpc() -> dict[Verb, Action]:
    """Images built or loaded must be migrated to the shared file system; pulled ones are."""
    plain = _podman("podman-hpc")
    return {
        **plain,
        "build": lambda order: (*_of(plain["build"], order), ("podman-hpc", "migrate", order.ref)),
        "load": lambda order: (*_of(plain["load"], order), ("podman-hpc", "migrate", order.ref)),
    }


def _sarus() -> dict[Verb, Action]:
    return {
        "build": _ELSEWHERE,
        "pull": lambda order: (("sarus", "pull", order.ref),),
        "load": lambda order: (("sarus", "load", order.archive, order.ref),),
        "list": lambda order: (("sarus", "images", "--digests"),),
        "digest": lambda order: (("sarus", "images", "--digests"),),
    }


def _apptainer(command: str) -> dict[Verb, Action]:
    def build(order: Order) -> tuple[Command, ...]:
        archive = order.archive or f"{order.file}.tar"
        made = _podman("podman")["build"]
        whole = _of(made, msgspec.structs.replace(order, archive=archive))
        return (*whole, (command, "build", order.file, f"docker-archive:{archive}"))

    def pull(order: Order) -> tuple[Command, ...]:
        source = order.ref if URI.fullmatch(order.ref) else f"docker://{order.ref}"
        return ((command, "build", order.file, source),)

    return {
        "build": build,
        "pull": pull,
        "load": lambda order: ((command, "build", order.file, f"docker-archive:{order.archive}"),),
        "list": "images are files: `ls *.sif`",
        "digest": _FILES,
    }


def _enroot() -> dict[Verb, Action]:
    """Enroot, whose files pyxis and the Container Engine start; it imports from registries and from podman's store."""

    def build(order: Order) -> tuple[Command, ...]:
        made = _of(_podman("podman")["build"], order)
        return (*made, ("enroot", "import", "--output", order.file, f"podman://{order.ref}"))

    def load(order: Order) -> tuple[Command, ...]:
        loaded = _of(_podman("podman")["load"], order)
        return *loaded, ("enroot", "import", "--output", order.file, f"podman://{order.ref}")

    def pull(order: Order) -> tuple[Command, ...]:
        return (("enroot", "import", "--output", order.file, f"docker://{enroot(order.ref)}"),)

    return {
        "build": build,
        "pull": pull,
        "load": load,
        "list": "images are files: `ls *.sqsh`",
        "digest": _FILES,
    }


def _shifter() -> dict[Verb, Action]:
    """Shifter's gateway has images from registries only."""
    registry = "push it to a registry that the site can reach, then `bertjob image pull REF`"
    return {
        "build": f"builds no images: build where podman or docker is, {registry}",
        "pull": lambda order: (("shifterimg", "pull", f"docker:{order.ref}"),),
        "load": f"takes no archives: {registry}",
        "list": lambda order: (("shifterimg", "images"),),
        "digest": lambda order: (("shifterimg", "lookup", f"docker:{order.ref}"),),
    }


def _charliecloud() -> dict[Verb, Action]:
    """ch-image's own storage is a user's and a node's: jobs take a folder on the shared file system."""
    flat = "the image's files as `podman export` writes them, by `ch-convert -i tar FILE.tar FOLDER`"
    return {
        "build": f"does not read this Dockerfile: build where podman is, and turn into a folder {flat}",
        "pull": lambda order: (("ch-image", "pull", order.ref), ("ch-convert", order.ref, order.file)),
        "load": f"takes no docker-archive, but {flat}",
        "list": lambda order: (("ch-image", "list"),),
        "digest": "its images are folders, which have no digest",
    }


def _of(action: Action, order: Order) -> tuple[Command, ...]:
    assert not isinstance(action, str)
    return action(order)


def _recipe(order: Order) -> tuple[str, ...]:
    arguments = (word for name, value in order.arguments.items() for word in ("--build-arg", f"{name}={value}"))
    return "--file", f"{order.context}/container/Dockerfile", *arguments, *order.extra, order.context


def _saved(command: str, order: Order) -> tuple[Command, ...]:
    form = () if command == "docker" else ("--format", "docker-archive")
    return ((command, "save", *form, "--output", order.archive, order.ref),) if order.archive else ()


def _tagged(command: str, order: Order) -> tuple[Command, ...]:
    """An archive brings its own name."""
    other = order.archived not in ("", order.ref)
    return ((command, "tag", order.archived, order.ref),) if other else ()


def _sarus_row(order: Order) -> tuple[str, ...]:
    """How ``sarus images`` begins the line of an image: repository and tag."""
    name, _, tag = order.ref.rpartition(":")
    return (name, tag) if name and "/" not in tag else (order.ref, "latest")


IMAGES: Mapping[str, Images] = {
    "apptainer": Images(_apptainer("apptainer"), suffix=".sif"),
    "charliecloud": Images(_charliecloud(), suffix=".image"),
    "docker": Images(_docker()),
    "edf": Images(_enroot(), suffix=".sqsh"),
    "podman": Images(_podman("podman")),
    "podman-hpc": Images(_podman_hpc()),
    "pyxis": Images(_enroot(), suffix=".sqsh"),
    "sarus": Images(_sarus(), loaded=lambda ref: f"load/library/{ref}", row=_sarus_row),
    "shifter": Images(_shifter()),
    "singularity": Images(_apptainer("singularity"), suffix=".sif"),
}
