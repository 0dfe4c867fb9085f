"""What a container engine is given, and what its row of the table says about it."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from bertjob.launch.argv import Text, Word, variable
from bertjob.launch.engines.command_line import CommandLine
from bertjob.launch.engines.references import REFERENCE, Form

GpuVendor = Literal["nvidia", "amd"]
SOFTWARE = ("PATH", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONHOME", "PYTHONPATH")
"""Variables that decide which programs, libraries and packages run. In a container they are the image's own unless job
or site set them: the host's belong to other software, e.g. to a virtual environment that somebody has activated."""


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
        inherited: those of them whose values may stand in no file and on no command line: the engine takes them from
            its own environment.
        ranks: names that tell a rank its place; needed by an engine that takes nothing from its own environment.
        args: more options, as they are.
        annotations: for engines that read them.
        stdin: the program reads the engine's standard input, as a shell does.
        tty: there is a terminal.
        host_names: file with the names of the host's variables that an engine may take, one a line; None: all of them.
    """

    image: Word
    binds: tuple[Bind, ...]
    workdir: Word
    folder: Word
    gpus: int = 0
    gpu_vendor: GpuVendor = "nvidia"
    environment: Mapping[str, Word] = {}
    inherited: tuple[str, ...] = ()
    ranks: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    annotations: Mapping[str, str] = {}
    stdin: bool = False
    tty: bool = False
    host_names: Word | None = None

    @property
    def settings(self) -> tuple[Text, ...]:
        """``NAME=$NAME`` for each variable but those that are inherited: others can read the arguments of a process."""
        return tuple(f"{name}=" + variable(name) for name in self.environment if name not in self.inherited)


Verb = Literal["build", "pull", "load", "list", "digest"]
Command = tuple[str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is to do with an image.

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


class Images(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine does with images.

    Attributes:
        build: builds one from the recipe.
        pull: brings one from a registry.
        load: brings one from an archive.
        list: lists those that are here.
        digest: tells the digest of one that is here.
        pulled: forms of names that `pull` takes.
        suffix: of image files; none where the engine keeps images in a store of its own.
        loaded: how a job names an image that was loaded from an archive.
        local_prefix: how the names begin that the engine gives to images that come from no registry.
        digest_row: the words of a line of the digest's output that belong to an order; none where it answers for one.
        here_only: options with which a container starts only from an image that is here: a mistyped name shall be
            reported at once, not after a search through registries.
        tools: programs beside the engine's own that these commands need, each with the arguments by which it tells its
            version to the host probe; none where that is not asked.
        stands_in: whether it serves a site without an engine, where it is installed.
    """

    build: Action
    pull: Action
    load: Action
    list: Action
    digest: Action
    pulled: tuple[Form, ...] = (REFERENCE,)
    suffix: str = ""
    loaded: Callable[[str], str] = lambda ref: ref
    local_prefix: str = ""
    digest_row: Callable[[Order], tuple[str, ...]] = lambda order: ()
    here_only: tuple[str, ...] = ()
    tools: Mapping[str, tuple[str, ...]] = {}
    stands_in: bool = False

    def action(self, verb: Verb) -> Action:
        """What a verb does."""
        actions: dict[Verb, Action] = {
            "build": self.build,
            "pull": self.pull,
            "load": self.load,
            "list": self.list,
            "digest": self.digest,
        }
        return actions[verb]


class File(msgspec.Struct, frozen=True):
    """A file that an engine reads in place of options.

    Attributes:
        name: its name in the container's `folder`.
        text: makes its text.
        shell_folder: where a shell, which has no run directory, keeps it: a folder below the home, which all nodes see.
    """

    name: str
    text: Callable[[Container], str]
    shell_folder: str


class SlurmOptions(msgspec.Struct, frozen=True):
    """Options that a plugin of the engine adds to srun and sbatch, without the dashes: with a value, and flags."""

    valued: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()


class Untold(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine does unless an option says otherwise.

    Attributes:
        entry_point: runs the image's entry point.
        image_workdir: starts in the image's working directory; False where it is another one, or not known.
        gpus: shows the GPUs of the job.
        root: runs as root inside, unless the image names a user.
    """

    entry_point: bool
    image_workdir: bool
    gpus: bool
    root: bool


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a container of an engine can have, and what it cannot.

    Attributes:
        gpu_vendors: whose GPUs it can show.
        separators: characters that separate parts of a mount, so that no path can hold one, with what they separate.
        annotations: whether it reads annotations.
        readonly_mounts: whether a mount can be protected from writing.
        empty_variables: whether a variable can be there and empty.
        takes_args: whether there are options for `engine_args` to add to.
        reserved: folders of the container below which nothing can be mounted.
    """

    gpu_vendors: frozenset[GpuVendor]
    separators: Mapping[str, str]
    annotations: bool
    readonly_mounts: bool = True
    empty_variables: bool = True
    takes_args: bool = True
    reserved: tuple[str, ...] = ()


class ImageFolder(msgspec.Struct, frozen=True):
    """What an image that is a folder must hold, because the engine makes nothing in it.

    Attributes:
        files: files in whose place the engine puts its own or the host's.
        shown: folders of the host that are there anyway, with all that is below; other targets of mounts must exist.
    """

    files: tuple[str, ...]
    shown: tuple[str, ...]


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table: all that bertjob knows of an engine.

    Attributes:
        command: the words before the program, see also `start`; of an engine that is a part of srun, more options of
            srun.
        note: why they are as they are, for the script.
        note_at_terminal: the same where the launcher gives each rank a terminal; empty: no other one.
        program: the command that every node must have; none where srun itself must know the engine's options.
        images: what it does with images.
        takes: forms of images that it starts.
        cli: how its command line is read; none for options of srun.
        untold: what it does by default.
        limits: what it can express.
        passes_open_files: whether the container gets the open files of its caller: PMI-1 and PMI-2 need one,
            PMIx takes a socket.
        version: arguments with which `program` tells its version.
        setup: lines of the script that make ready what the command needs.
        srun_option: the option of srun that tells whether it knows the engine; none for engines with a command.
        slurm_options: options of its plugin for Slurm.
        file: the file that the command names, if it reads one.
        gpu_environment: variables that make it show GPUs.
        inherits: which of SOFTWARE the program would get from the host where the image has none of its own.
        by_names: whether it takes the host's variables by a file of names (`Container.host_names`).
        daemon: whether a daemon starts its containers: outside of the job, and with the variables that are named alone.
        folder_image: what an image that is a folder must hold; None where the engine makes what is missing.
        image_hint: how an image is written for it, where a plain reference will not do.
    """

    command: Callable[[Container], tuple[Word, ...]]
    note: str
    note_at_terminal: str = ""
    program: str
    images: Images
    takes: tuple[Form, ...]
    cli: CommandLine | None
    untold: Untold
    limits: Limits
    passes_open_files: bool
    version: tuple[str, ...] = ("--version",)
    setup: str = ""
    srun_option: str = ""
    slurm_options: SlurmOptions = SlurmOptions()
    file: File | None = None
    gpu_environment: Mapping[str, str] = {}
    inherits: tuple[str, ...] = ()
    by_names: bool = False
    daemon: bool = False
    folder_image: ImageFolder | None = None
    image_hint: str = ""

    def hidden(self, container: Container) -> tuple[str, ...]:
        """Variables of the host that must be kept from the engine, because it would hand them on to the program."""
        return tuple(name for name in self.inherits if name not in container.environment)

    def start(self, container: Container) -> tuple[Word, ...]:
        """The command, kept from the variables of the host's software; those of srun's parts the script unsets."""
        hidden = () if self.started_by_srun else self.hidden(container)
        words = self.command(container)
        return ("env", *(f"--unset={name}" for name in hidden), *words) if hidden else words

    @property
    def started_by_srun(self) -> bool:
        """Whether srun itself starts the containers, so that no other launcher can."""
        return bool(self.srun_option)

    @property
    def programs(self) -> frozenset[str]:
        """All programs that belong to it: its own, those with the same command line, and what its images need."""
        aliases = self.cli.aliases if self.cli else ()
        return frozenset({self.program, *aliases, *self.images.tools} - {""})


def source_and_target(bind: Bind) -> Word:
    """``SOURCE:TARGET``, with ``:ro`` where nothing may be written."""
    return bind.source + (":" + bind.target) + ":ro" * bind.readonly
