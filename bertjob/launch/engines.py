"""Container engines: what stands before the program so that it runs inside an image.

A new engine is one function from `Container` to words and one row of `ENGINES`; see also `spec.job.Engine`.
"""

from collections.abc import Callable, Mapping

import msgspec

from bertjob.launch.words import Word


class Bind(msgspec.Struct, frozen=True):
    """A folder of the host inside the container."""

    source: Word
    target: Word
    readonly: bool = False


class Container(msgspec.Struct, frozen=True):
    """What every engine is told.

    Attributes:
        image: the image as the engine names it.
        binds: folders of the host, a parent before its children.
        workdir: folder inside that the program starts in.
        gpus: GPUs a node; 0 for none.
    """

    image: str
    binds: tuple[Bind, ...]
    workdir: Word
    gpus: int


class Engine(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        command: the words before the program.
        note: why they are as they are, for the script.
    """

    command: Callable[[Container], tuple[Word, ...]]
    note: str


def none(container: Container) -> tuple[Word, ...]:
    """No container: the program as it is."""
    return ()


def podman(container: Container) -> tuple[Word, ...]:
    """Podman, as close to a process of the host as it gets."""
    return (
        *("podman", "run", "--rm", "--env-host", "--network=host", "--pid=host", "--ipc=host", "--uts=host"),
        *(("--device", "nvidia.com/gpu=all") if container.gpus else ()),
        *("--entrypoint", ""),
        "--workdir=" + container.workdir,
        *(_mount(bind) for bind in container.binds),
        container.image,
    )


def sarus(container: Container) -> tuple[Word, ...]:
    """Sarus run; the environment is inherited, the GPUs follow CUDA_VISIBLE_DEVICES."""
    return (
        *("sarus", "run", "--entrypoint", ""),
        "--workdir=" + container.workdir,
        *(_mount(bind) for bind in container.binds),
        container.image,
    )


def _mount(bind: Bind) -> Word:
    """The form that both engines read; fields are separated by commas, so a path cannot hold one."""
    return "--mount=type=bind,source=" + bind.source + ",destination=" + bind.target + ",readonly" * bind.readonly


ENGINES: Mapping[str, Engine] = {
    "none": Engine(none, ""),
    "podman": Engine(
        podman,
        "podman with the host's environment and namespaces: that is how the ranks find their variables and each other.",
    ),
    "sarus": Engine(
        sarus,
        "sarus without --tty: a batch job has no terminal, and sarus stops when it finds none.",
    ),
}
