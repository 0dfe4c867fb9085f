"""Engines that are plugins of srun, around Enroot's image files: more options of srun in place of a command."""

import json
from collections.abc import Iterable

from bertjob.launch.argv import Ref, Text, Word
from bertjob.launch.engines import docker
from bertjob.launch.engines.references import ENROOT, REFERENCE, enroot
from bertjob.launch.engines.types import Command, Container, File, Images, Order, SlurmOptions, source_and_target

_EDF_FILE = "environment.toml"


def pyxis(container: Container) -> tuple[Word, ...]:
    """NVIDIA's plugin around enroot: the environment is inherited, but the image wins over what is not named."""
    mounts: Word = ""
    for bind in container.binds:
        mounts = mounts + ("," if mounts else "") + source_and_target(bind)
    return (
        "--container-image=" + enroot(container.image),
        *(("--container-mounts=" + mounts,) if mounts else ()),
        "--container-workdir=" + container.workdir,
        "--no-container-entrypoint",
        *((f"--container-env={','.join(container.environment)}",) if container.environment else ()),
        *container.args,
    )


def edf(container: Container) -> tuple[Word, ...]:
    """The Container Engine of CSCS: all but the name of a file stands in that file."""
    return ("--environment=" + container.folder + f"/{_EDF_FILE}",)


def _definition(container: Container) -> str:
    """The environment definition file, TOML; the engine replaces ``${NAME}`` from its environment.

    Reference: https://docs.cscs.ch/software/container-engine/edf
    """
    lines = [
        f"image = {_toml(enroot(container.image))}",
        f"mounts = {_array(source_and_target(bind) for bind in container.binds)}",
        f"workdir = {_toml(container.workdir)}",
        "entrypoint = false",
    ]
    if container.annotations:
        lines += ["", "[annotations]", *(f"{key} = {_toml(value)}" for key, value in container.annotations.items())]
    if container.environment:
        # Else the image's own values would win over those that are exported.
        lines += ["", "[env]", *(f"{name} = {_toml(value)}" for name, value in container.environment.items())]
    return "\n".join(lines)


def _array(words: Iterable[Word]) -> str:
    items = [f"  {_toml(word)}," for word in words]
    return "\n".join(["[", *items, "]"])


def _toml(word: Word) -> str:
    """A TOML string, whose escapes are JSON's but for DEL; a literal ``$`` is doubled, or it would be expanded."""
    parts = word.parts if isinstance(word, Text) else (word,)
    text = "".join(f"${{{part.name}}}" if isinstance(part, Ref) else part.replace("$", "$$") for part in parts)
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _build(order: Order) -> tuple[Command, ...]:
    return (*docker.build("podman")(order), _imported(order))


def _load(order: Order) -> tuple[Command, ...]:
    return (*docker.load("podman")(order), _imported(order))


def _imported(order: Order) -> Command:
    """From the store of Podman, which has built or loaded it.

    enroot 4.1.2 removes its container in the end by `docker rm`, also for podman://, and fails without docker although
    the image is complete. It is a program of bash, to which a function can be exported.
    """
    return ("env", _DOCKER_BY_PODMAN, "enroot", "import", "--output", order.file, f"podman://{order.ref}")


_DOCKER_BY_PODMAN = 'BASH_FUNC_docker%%=() { podman "$@"; }'

IMAGES = Images(
    build=_build,
    pull=lambda order: (("enroot", "import", "--output", order.file, f"docker://{enroot(order.ref)}"),),
    load=_load,
    list="images are files: `ls *.sqsh`",
    digest="images are files: their digest is that of the file",
    pulled=(ENROOT, REFERENCE),
    suffix=".sqsh",
    tools={"enroot": ("version",)},
)

EDF_FILE = File(_EDF_FILE, _definition, shell_folder=".edf/bertjob")
EDF_SLURM_OPTIONS = SlurmOptions(valued=frozenset({"environment", "edf"}))
PYXIS_SLURM_OPTIONS = SlurmOptions(
    valued=frozenset(
        {
            *("container-image", "container-mounts", "container-workdir", "container-name", "container-env"),
            *("container-save", "container-remap-root"),
        }
    ),
    flags=frozenset(
        {
            *("container-mount-home", "no-container-mount-home", "container-entrypoint", "no-container-entrypoint"),
            *("container-writable", "container-readonly"),
        }
    ),
)
