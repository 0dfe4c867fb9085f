"""What a container engine is told, and what a row of the table of engines says about one."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from bertjob.launch.argv import Text, Word, variable
from bertjob.launch.engines.references import REFERENCE, Form

GpuVendor = Literal["nvidia", "amd"]


class Bind(msgspec.Struct, frozen=True):
    """A folder of the host inside the container."""

    source: Word
    target: Word
    readonly: bool = False


class Container(msgspec.Struct, frozen=True):
    """What every engine is told.

    Attributes:
        image: the image as the job names it.
        binds: folders of the host, a parent before its children.
        workdir: folder inside that the program starts in.
        folder: folder of the host, seen by all nodes, for a file that the engine reads.
        gpus: GPUs a node; 0 for none.
        gpu_vendor: their maker.
        environment: variables that the job and the site say, and that are exported; the image must not win over them.
        ranks: names that tell a rank its place; needed by an engine that takes nothing from its own environment.
        args: more options, as they are.
        annotations: for engines that read them.
        stdin: the program reads the engine's standard input, as a shell does.
        tty: there is a terminal.
    """

    image: Word
    binds: tuple[Bind, ...]
    workdir: Word
    folder: Word
    gpus: int = 0
    gpu_vendor: GpuVendor = "nvidia"
    environment: Mapping[str, Word] = {}
    ranks: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}
    stdin: bool = False
    tty: bool = False

    @property
    def settings(self) -> tuple[Text, ...]:
        """``NAME=$NAME`` for each variable of the environment."""
        return tuple(f"{name}=" + variable(name) for name in self.environment)


class Engine(msgspec.Struct, frozen=True):
    """A row of the table: what an engine is told, and what it cannot express.

    Attributes:
        command: the words before the program; of an engine that is a part of srun, more options of srun.
        note: why they are as they are, for the script.
        setup: lines of the script that make ready what the command needs.
        program: the command that every node must have; none where srun itself must know the engine's options.
        srun_option: the option of srun that tells whether it knows the engine; none for engines with a command.
        file: name of a file that the command names, in the container's `folder`, and what makes its text.
        images: forms of images that it takes.
        separators: characters that separate parts of a mount, so that no path can hold one, with what they separate.
        readonly: whether a mount can be protected from writing.
        gpu_vendors: whose GPUs it can show.
        gpu_environment: variables that make it show GPUs.
        annotations: whether it reads annotations.
        empty_variables: whether a variable can be there and empty.
        takes_args: whether there are options for `engine_args` to add to.
        batch: whether it works in jobs of a scheduler.
    """

    command: Callable[[Container], tuple[Word, ...]]
    note: str
    setup: str = ""
    program: str = ""
    srun_option: str = ""
    file: tuple[str, Callable[[Container], str]] | None = None
    images: tuple[Form, ...] = (REFERENCE,)
    separators: Mapping[str, str] = {}
    readonly: bool = True
    gpu_vendors: frozenset[GpuVendor] = frozenset({"nvidia"})
    gpu_environment: Mapping[str, str] = {}
    annotations: bool = False
    empty_variables: bool = True
    takes_args: bool = True
    batch: bool = True
