"""Engines that start a program in an image as a process of the user: Apptainer, Singularity, Shifter, Charliecloud."""

from bertjob.launch.argv import Word
from bertjob.launch.engines.references import TYPED, URI, with_scheme
from bertjob.launch.engines.types import Bind, Container


def apptainer(container: Container) -> tuple[Word, ...]:
    """Apptainer exec, which runs no entry point; a terminal is used where there is one.

    Variables follow the image by `env`: the image's own win over inherited ones, and `--env` splits values with `=`
    and commas, like those of NCCL_IB_HCA.
    """
    return _apptainer("apptainer", container)


def singularity(container: Container) -> tuple[Word, ...]:
    """SingularityCE, with Apptainer's words."""
    return _apptainer("singularity", container)


def shifter(container: Container) -> tuple[Word, ...]:
    """Shifter: the image's variables win over the inherited ones; GPUs come by a site's `--module`."""
    return (
        "shifter",
        "--image=" + with_scheme(container.image, "docker:", TYPED),
        "--workdir=" + container.workdir,
        *("--env=" + setting for setting in container.settings),
        *("--volume=" + _colons(bind) for bind in container.binds),
        *container.args,
    )


def charliecloud(container: Container) -> tuple[Word, ...]:
    """ch-run: the environment is inherited and the image's own is not read; targets of mounts must be in the image."""
    return (
        *("ch-run", "--cd=" + container.workdir),
        *("--bind=" + _colons(bind) for bind in container.binds),
        *container.args,
        *(container.image, "--"),
    )


def _apptainer(command: str, container: Container) -> tuple[Word, ...]:
    gpus = {"nvidia": "--nv", "amd": "--rocm"}[container.gpu_vendor]
    return (
        *(command, "exec", *((gpus,) if container.gpus else ())),
        "--pwd=" + container.workdir,
        *("--bind=" + _colons(bind) for bind in container.binds),
        *container.args,
        with_scheme(container.image, "docker://", URI),
        *(("env", *container.settings) if container.environment else ()),
    )


def _colons(bind: Bind) -> Word:
    """``SOURCE:TARGET``, with ``:ro`` where nothing may be written."""
    return bind.source + (":" + bind.target) + ":ro" * bind.readonly
