"""Sarus, the engine of CSCS, and Shifter of NERSC, from which it descends."""

from bertjob.launch.argv import Word
from bertjob.launch.engines.command_line import CommandLine, options
from bertjob.launch.engines.docker import mounts_and_image
from bertjob.launch.engines.references import TYPED, with_scheme
from bertjob.launch.engines.types import Container, Images, Order, SlurmOptions, source_and_target

_GPUS = "CUDA_VISIBLE_DEVICES"


def sarus(container: Container) -> tuple[Word, ...]:
    """Sarus run: the image's variables win over the inherited ones; the GPUs follow CUDA_VISIBLE_DEVICES.

    Inside, Sarus counts the GPUs that it shows from 0 (1.7: its NVIDIA hook), which `--env` would undo: the exported
    variable is enough.
    """
    settings = (setting for setting in container.settings if not str(setting).startswith(f"{_GPUS}="))
    return (
        *("sarus", "run", *(("--tty",) if container.tty else ()), "--entrypoint", ""),
        "--workdir=" + container.workdir,
        *("--env=" + setting for setting in settings),
        *mounts_and_image(container),
    )


def _digest_row(order: Order) -> tuple[str, ...]:
    """How ``sarus images`` begins the line of an image: repository and tag."""
    name, _, tag = order.ref.rpartition(":")
    return (name, tag) if name and "/" not in tag else (order.ref, "latest")


SARUS_IMAGES = Images(
    build="builds no images: build where podman or docker is (`bertjob image build --site local --archive FILE.tar`),"
    " copy the archive here, then `bertjob image load FILE.tar`",
    pull=lambda order: (("sarus", "pull", order.ref),),
    load=lambda order: (("sarus", "load", order.archive, order.ref),),
    list=lambda order: (("sarus", "images", "--digests"),),
    digest=lambda order: (("sarus", "images", "--digests"),),
    loaded=lambda ref: f"load/library/{ref}",
    local_prefix="load/",
    digest_row=_digest_row,
)

_SWAPS_MPI = "it swaps the host's MPI into a Sarus container; elsewhere the image's own MPI is used"
SARUS_CLI = CommandLine(
    valued=options("-e --env --mount --annotation --device --entrypoint --mpi-type -n --name --pid -w --workdir"),
    roles={
        "--mount": "mount",
        **dict.fromkeys(("-w", "--workdir"), "workdir"),
        **dict.fromkeys(("-e", "--env"), "environment"),
        **dict.fromkeys(("-t", "--tty"), "tty"),
        "--entrypoint": "entrypoint",
        "--device": "device",
        "--annotation": "annotation",
        "--pid": "host",
    },
    verbs={"run": True},
    dropped={
        "--mpi": _SWAPS_MPI,
        "-m": _SWAPS_MPI,
        "--mpi-type": "it belongs to --mpi",
        "--ssh": "it sets up ssh between Sarus containers; start the ranks by srun or mpirun",
        "--glibc": "it swaps the host's glibc into a Sarus container",
        "--init": "it starts an init process of Sarus",
        "--centralized-repository": "it names a repository of Sarus",
        "--env-file": "name the variables one by one with --env",
    },
    tty_in_batch="--tty ends with 'open /dev/tty' but under Open MPI's mpirun and srun --pty",
    mount_fields=options("type source src destination dst target readonly ro bind-propagation"),
)


def shifter(container: Container) -> tuple[Word, ...]:
    """Shifter: the image's variables win over the inherited ones; GPUs come by a site's `--module`."""
    return (
        "shifter",
        "--image=" + with_scheme(container.image, "docker:", TYPED),
        "--workdir=" + container.workdir,
        *("--env=" + setting for setting in container.settings),
        *("--volume=" + source_and_target(bind) for bind in container.binds),
        *container.args,
    )


# Its gateway has images from registries only.
_BY_A_REGISTRY = "push it to a registry that the site can reach, then `bertjob image pull REF`"
SHIFTER_IMAGES = Images(
    build=f"builds no images: build where podman or docker is, {_BY_A_REGISTRY}",
    pull=lambda order: (("shifterimg", "pull", f"docker:{order.ref}"),),
    load=f"takes no archives: {_BY_A_REGISTRY}",
    list=lambda order: (("shifterimg", "images"),),
    digest=lambda order: (("shifterimg", "lookup", f"docker:{order.ref}"),),
    tools={"shifterimg": ()},
)

SHIFTER_CLI = CommandLine(
    valued=options("-i --image -V --volume -w --workdir -e --env --env-file -m --module"),
    roles={
        **dict.fromkeys(("-i", "--image"), "image"),
        **dict.fromkeys(("-V", "--volume"), "volumes"),
        **dict.fromkeys(("-w", "--workdir"), "workdir"),
        **dict.fromkeys(("-e", "--env"), "environment"),
        **dict.fromkeys(("-m", "--module"), "module"),
    },
    operands=0,
    schemes=("docker:",),
    dropped={"--env-file": "name the variables one by one with --env"},
)
SHIFTER_SLURM_OPTIONS = SlurmOptions(valued=frozenset({"image", "module", "volume"}))
