"""Docker, Podman and podman-hpc, which share a command line."""

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from bertjob.launch.argv import Word, variable
from bertjob.launch.engines.command_line import CommandLine, options
from bertjob.launch.engines.types import Bind, Command, Container, GpuVendor, Images, Order

_DEVICES: Mapping[GpuVendor, tuple[str, ...]] = {
    "nvidia": ("--device", "nvidia.com/gpu=all"),
    "amd": ("--device=/dev/kfd", "--device=/dev/dri"),
}
_SHARED = ("--network=host", "--pid=host", "--ipc=host", "--uts=host")
"""Namespaces of the host: ranks find each other by its addresses, and NCCL by its shared memory."""

ARCHIVE_WANTED = "a docker-archive is wanted, as `podman save --format docker-archive` makes it"


def podman(container: Container) -> tuple[Word, ...]:
    """Podman, as close to a process of the host as it gets.

    With `--env-host` the host's variables win over the image's, PATH among them (podman 4.3.1, and by its source 5.x:
    CompleteSpec in pkg/specgen/generate/container.go); so the host's are named one by one.
    """
    gpus = _DEVICES[container.gpu_vendor] if container.gpus else ()
    return _podman(("podman",), container, gpus)


def podman_hpc(container: Container) -> tuple[Word, ...]:
    """NERSC's wrapper of Podman, which finds images on the shared file system; its own option shows the GPUs."""
    return _podman(("podman-hpc",), container, ("--gpu",) if container.gpus else ())


def docker(container: Container) -> tuple[Word, ...]:
    """Docker on this machine: its daemon starts the container, so each variable is handed in, and the user too."""
    nvidia = ("--gpus", "all")
    gpus = (nvidia if container.gpu_vendor == "nvidia" else _DEVICES["amd"]) if container.gpus else ()
    return (
        *("docker", "run", "--rm", *_terminal(container), *_SHARED),
        "--user=" + variable("UID") + ":" + variable("GID"),  # the script reads GID, as bash does not
        *gpus,
        *("--entrypoint", ""),
        "--workdir=" + container.workdir,
        *(f"--env={name}" for name in (*container.environment, *container.ranks)),
        *mounts_and_image(container),
    )


def _podman(command: tuple[str, ...], container: Container, gpus: tuple[str, ...]) -> tuple[Word, ...]:
    return (
        *(*command, "run", "--rm", *_terminal(container)),
        "--env-host" if container.host_names is None else "--env-file=" + container.host_names,
        *(*_SHARED, *gpus),
        "--user=0:0",  # who is the caller outside, so that the ranks may write to the run directory
        *("--entrypoint", ""),
        "--workdir=" + container.workdir,
        *(f"--env={name}" for name in container.environment),
        *mounts_and_image(container),
    )


def mounts_and_image(container: Container) -> tuple[Word, ...]:
    """The end of the command: annotations, mounts, the site's own options and the image."""
    return (
        *(f"--annotation={key}={value}" for key, value in container.annotations.items()),
        *(_mount(bind) for bind in container.binds),
        *container.args,
        container.image,
    )


def _terminal(container: Container) -> tuple[str, ...]:
    return ("--interactive",) * container.stdin + ("--tty",) * container.tty


def _mount(bind: Bind) -> Word:
    """The form that all of them read; fields are separated by commas, so a path cannot hold one."""
    return "--mount=type=bind,source=" + bind.source + ",destination=" + bind.target + ",readonly" * bind.readonly


def build(command: str) -> Callable[[Order], tuple[Command, ...]]:
    """How Docker or Podman builds an image from its recipe, and leaves an archive of it if one is named."""

    def commands(order: Order) -> tuple[Command, ...]:
        return ((command, "build", "--tag", order.ref, *_recipe(order)), *_saved(command, order))

    return commands


def load(command: str) -> Callable[[Order], tuple[Command, ...]]:
    """How Docker or Podman loads an archive, and gives the image the name that is wanted."""
    return lambda order: ((command, "load", "--input", order.archive), *_tagged(command, order))


def _images(command: str) -> Images:
    return Images(
        build=build(command),
        pull=lambda order: ((command, "pull", order.ref),),
        load=load(command),
        list=lambda order: ((command, "images", "--digests"),),
        digest=lambda order: ((command, "image", "inspect", "--format", "{{.Digest}}", order.ref),),
        here_only=("--pull=never",),
    )


def _then_migrate(make: Callable[[Order], tuple[Command, ...]]) -> Callable[[Order], tuple[Command, ...]]:
    """Images built or loaded must be migrated to the shared file system; pulled ones are."""
    return lambda order: (*make(order), ("podman-hpc", "migrate", order.ref))


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


# An image that was neither pulled nor pushed has no digest of a registry, only its own id.
_EITHER = "{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}"
DOCKER_IMAGES = replace(
    _images("docker"),
    digest=lambda order: (("docker", "image", "inspect", "--format", _EITHER, order.ref),),
    stands_in=True,
)
PODMAN_IMAGES = replace(_images("podman"), local_prefix="localhost/", stands_in=True)
PODMAN_HPC_IMAGES = replace(
    _images("podman-hpc"),
    build=_then_migrate(build("podman-hpc")),
    load=_then_migrate(load("podman-hpc")),
    local_prefix="localhost/",
)

PODMAN_CLI = CommandLine(
    valued=options(
        "-v --volume -e --env --env-file -w --workdir --mount --name --network --net --ipc --pid --uts --userns "
        "--device --gpus -u --user --entrypoint --shm-size --ulimit -h --hostname -l --label -m --memory --cpus "
        "--security-opt --cap-add --cap-drop --runtime --platform --pull -p --publish --tmpfs --annotation "
        "--log-driver --restart --add-host --group-add --cgroupns --cgroups --volumes-from --module --format --tz "
        "--umask --stop-signal"
    ),
    roles={
        **dict.fromkeys(("-v", "--volume"), "volume"),
        "--mount": "mount",
        **dict.fromkeys(("-w", "--workdir"), "workdir"),
        **dict.fromkeys(("-e", "--env"), "environment"),
        **dict.fromkeys(("-t", "--tty"), "tty"),
        **dict.fromkeys(("-i", "--interactive"), "stdin"),
        "--entrypoint": "entrypoint",
        **dict.fromkeys(("--gpus", "--gpu"), "gpus"),
        "--device": "device",
        "--annotation": "annotation",
        **dict.fromkeys(("--network", "--net", "--pid", "--ipc", "--uts"), "host"),
        **dict.fromkeys(("-u", "--user", "--userns"), "user"),
        **dict.fromkeys(("--rm", "--env-host"), "implied"),
    },
    verbs={"run": True},
    schemes=("docker://", "docker-daemon:"),
    dropped={
        "--env-file": "name the variables one by one with --env",
        **dict.fromkeys(("-u", "--user"), "containers on clusters run as the user of the job"),
    },
    tty_in_batch="-t stops or mixes up the log",
)
DOCKER_CLI = replace(PODMAN_CLI, aliases=("nerdctl",))
