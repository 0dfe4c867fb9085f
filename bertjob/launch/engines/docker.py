"""Engines with a command line like Docker's: Sarus, Podman, podman-hpc, Docker."""

from collections.abc import Mapping

from bertjob.launch.argv import Word, variable
from bertjob.launch.engines.types import Bind, Container, GpuVendor

_DEVICES: Mapping[GpuVendor, tuple[str, ...]] = {
    "nvidia": ("--device", "nvidia.com/gpu=all"),
    "amd": ("--device=/dev/kfd", "--device=/dev/dri"),
}
_SHARED = ("--network=host", "--pid=host", "--ipc=host", "--uts=host")
"""Namespaces of the host: ranks find each other by its addresses, and NCCL by its shared memory."""


def sarus(container: Container) -> tuple[Word, ...]:
    """Sarus run: the image's variables win over the inherited ones; the GPUs follow CUDA_VISIBLE_DEVICES."""
    return (
        *("sarus", "run", *(("--tty",) if container.tty else ()), "--entrypoint", ""),
        "--workdir=" + container.workdir,
        *("--env=" + setting for setting in container.settings),
        *_common(container),
    )


def podman(container: Container) -> tuple[Word, ...]:
    """Podman, as close to a process of the host as it gets; the image's variables win over `--env-host`."""
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
        *_common(container),
    )


def _podman(command: tuple[str, ...], container: Container, gpus: tuple[str, ...]) -> tuple[Word, ...]:
    return (
        *(*command, "run", "--rm", *_terminal(container), "--env-host", *_SHARED, *gpus),
        "--user=0:0",  # who is the caller outside, so that the ranks may write to the run directory
        *("--entrypoint", ""),
        "--workdir=" + container.workdir,
        *(f"--env={name}" for name in container.environment),
        *_common(container),
    )


def _common(container: Container) -> tuple[Word, ...]:
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
