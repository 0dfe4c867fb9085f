"""Apptainer, Singularity and Charliecloud, which start a program in an image as a process of the user."""

from collections.abc import Mapping

from msgspec.structs import replace

from bertjob.launch.argv import Word
from bertjob.launch.engines import docker
from bertjob.launch.engines.command_line import CommandLine, options
from bertjob.launch.engines.references import REFERENCE, URI, with_scheme
from bertjob.launch.engines.types import (
    SOFTWARE,
    Command,
    Container,
    GpuVendor,
    ImageFolder,
    Images,
    Order,
    source_and_target,
)

_GPUS: Mapping[GpuVendor, str] = {"nvidia": "--nv", "amd": "--rocm"}


def apptainer(container: Container) -> tuple[Word, ...]:
    """Apptainer exec, which runs no entry point; a terminal is used where there is one.

    Variables follow the image by `env`: the image's own win over inherited ones, and `--env` splits values with `=`
    and commas, like those of NCCL_IB_HCA.
    """
    return _exec("apptainer", container)


def singularity(container: Container) -> tuple[Word, ...]:
    """SingularityCE, with Apptainer's words."""
    return _exec("singularity", container)


def _exec(command: str, container: Container) -> tuple[Word, ...]:
    return (
        *(command, "exec", *((_GPUS[container.gpu_vendor],) if container.gpus else ())),
        "--pwd=" + container.workdir,
        *("--bind=" + source_and_target(bind) for bind in container.binds),
        *container.args,
        with_scheme(container.image, "docker://", URI),
        *(("env", *container.settings) if container.settings else ()),
    )


def images(command: str) -> Images:
    """What Apptainer or Singularity does with images, which are files; Podman builds them."""

    def build(order: Order) -> tuple[Command, ...]:
        archive = order.archive or f"{order.file}.tar"
        built = docker.build("podman")(replace(order, archive=archive))
        return (*built, (command, "build", order.file, f"docker-archive:{archive}"))

    def pull(order: Order) -> tuple[Command, ...]:
        source = order.ref if URI.fullmatch(order.ref) else f"docker://{order.ref}"
        return ((command, "build", order.file, source),)

    return Images(
        build=build,
        pull=pull,
        load=lambda order: ((command, "build", order.file, f"docker-archive:{order.archive}"),),
        list="images are files: `ls *.sif`",
        digest="images are files: their digest is that of the file",
        pulled=(URI, REFERENCE),
        suffix=".sif",
    )


APPTAINER_CLI = CommandLine(
    valued=options(
        "-B --bind --mount --pwd --cwd --env --env-file -H --home -W --workdir -S --scratch -o --overlay --network "
        "--network-args --security --hostname --app --apply-cgroups --add-caps --drop-caps --dns --fusemount "
        "--pid-file"
    ),
    roles={
        **dict.fromkeys(("-B", "--bind"), "volumes"),
        "--mount": "mount",
        **dict.fromkeys(("--pwd", "--cwd"), "workdir"),
        "--env": "environments",
        "--nv": "gpus",
        "--rocm": "gpus-amd",
    },
    verbs={"exec": False, "run": True},
    schemes=("docker://", "docker-daemon:"),
    dropped={
        "--env-file": "name the variables one by one with --env",
        "--cleanenv": "engines on clusters inherit the environment",
        "-C": "engines on clusters share the host's namespaces",
    },
)


def charliecloud(container: Container) -> tuple[Word, ...]:
    """ch-run: the environment is inherited, then that of the image read; targets of mounts must be in the image.

    The options of variables count in their order. A value that begins with ``$`` would be expanded.
    """
    hidden = [name for name in SOFTWARE if name not in container.environment]
    return (
        *("ch-run", "--cd=" + container.workdir),
        *(f"--unset-env={name}" for name in hidden),
        *((f"--set-env=PATH={_DEFAULT_PATH}",) if "PATH" in hidden else ()),
        "--set-env",
        *(("--env-no-expand",) if container.environment else ()),
        *("--set-env=" + setting for setting in container.settings),
        *("--bind=" + source_and_target(bind) for bind in container.binds),
        *container.args,
        *(container.image, "--"),
    )


_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of images that name none, as with Docker and Podman."""
_VARIABLES = "/ch/environment"
"""The image's variables, which ch-image and ch-convert write, but not from a plain tar archive."""

CHARLIECLOUD_FOLDER = ImageFolder(
    # Without /etc/hosts and /etc/resolv.conf no node is known inside by its name.
    files=("/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf", _VARIABLES),
    shown=("/dev", "/proc", "/sys", "/tmp"),
)

# ch-image's own storage is a user's and a node's: jobs take a folder on the shared file system.
_FLAT = (
    "the image's files as `podman export` writes them, by `ch-convert -i tar FILE.tar FOLDER`, with its variables in"
    f" FOLDER{_VARIABLES}"
)
CHARLIECLOUD_IMAGES = Images(
    build=f"does not read this Dockerfile: build where podman is, and turn into a folder {_FLAT}",
    pull=lambda order: (("ch-image", "pull", order.ref), ("ch-convert", order.ref, order.file)),
    load=f"takes no docker-archive, but {_FLAT}",
    list=lambda order: (("ch-image", "list"),),
    digest="its images are folders, which have no digest",
    suffix=".image",
    tools={"ch-image": (), "ch-convert": ()},
)

CHARLIECLOUD_CLI = CommandLine(
    valued=options("-b --bind -c --cd -g --gid -m --mount -u --uid --seccomp"),
    roles={
        **dict.fromkeys(("-b", "--bind"), "bind"),
        **dict.fromkeys(("-c", "--cd"), "workdir"),
        "--set-env": "environment",
    },
    own=frozenset({f"PATH={_DEFAULT_PATH}"}),
    dropped={
        **dict.fromkeys(("--unset-env", "--env-no-expand"), "the image's own variables count elsewhere"),
        "-u": "containers on clusters run as the user of the job",
    },
)
