"""Container engines: what stands before the program so that it runs inside an image.

A new engine is one function from `Container` to words and one row of `ENGINES`; see also `spec.job.Engine`.
"""

from collections.abc import Mapping

from bertjob.launch.engines import apptainer, docker, enroot
from bertjob.launch.engines.references import ENROOT, PATH, REFERENCE, TYPED, URI
from bertjob.launch.engines.types import Bind, Container, Engine, GpuVendor

__all__ = ["ENGINES", "Bind", "Container", "Engine"]

_BOTH: frozenset[GpuVendor] = frozenset({"nvidia", "amd"})
_FIELDS = {",": "the fields of a mount"}
_QUOTED_FIELDS = {**_FIELDS, '"': "quoted fields of a mount"}
_COLON = {":": "source and target of a mount"}
_ENROOT_MOUNT = {**_COLON, ",": "mounts", " ": "the fields of a mount"}

ENGINES: Mapping[str, Engine] = {
    "none": Engine(lambda container: (), "", takes_args=False),
    "apptainer": Engine(
        apptainer.apptainer,
        "apptainer inherits the environment; env lets what is exported above win over the image's own variables.",
        program="apptainer",
        images=(PATH, URI, REFERENCE),
        separators={**_COLON, ",": "mounts"},
        gpu_vendors=_BOTH,
    ),
    "charliecloud": Engine(
        apptainer.charliecloud,
        "ch-run with the host's environment; what it mounts must be there as a folder in the image.",
        setup='export USER="${USER:-$(id -un)}" # ch-run stops without it',
        program="ch-run",
        images=(PATH, REFERENCE),
        separators=_COLON,
        readonly=False,
        gpu_vendors=_BOTH,
    ),
    "docker": Engine(
        docker.docker,
        "docker's daemon starts the containers, so each variable of the ranks is handed in by its name.",
        setup="GID=$(id -g) # files that the ranks write are the user's, not the daemon's",
        program="docker",
        separators=_QUOTED_FIELDS,
        gpu_vendors=_BOTH,
        batch=False,
    ),
    "edf": Engine(
        enroot.edf,
        "CSCS's Container Engine, a part of srun: the container is what the file says.",
        srun_option="--environment",
        file=(enroot.EDF_FILE, enroot.definition),
        images=(PATH, ENROOT, REFERENCE),
        separators=_ENROOT_MOUNT,
        annotations=True,
        empty_variables=False,
        takes_args=False,
    ),
    "podman": Engine(
        docker.podman,
        "podman with the host's environment and namespaces: that is how the ranks find their variables and each other.",
        program="podman",
        separators=_QUOTED_FIELDS,
        gpu_vendors=_BOTH,
        annotations=True,
    ),
    "podman-hpc": Engine(
        docker.podman_hpc,
        "podman-hpc with the host's environment and namespaces: so the ranks find their variables and each other.",
        program="podman-hpc",
        separators=_QUOTED_FIELDS,
        annotations=True,
    ),
    "pyxis": Engine(
        enroot.pyxis,
        "pyxis, a part of srun: the image would win over the variables that --container-env does not name.",
        srun_option="--container-image",
        images=(PATH, ENROOT, REFERENCE),
        separators=_ENROOT_MOUNT,
        gpu_environment={"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
    ),
    "sarus": Engine(
        docker.sarus,
        "sarus without --tty: a batch job has no terminal, and sarus stops when it finds none.",
        program="sarus",
        separators=_FIELDS,
        annotations=True,
    ),
    "shifter": Engine(
        apptainer.shifter,
        "shifter inherits the environment; --env lets what is exported above win over the image's own variables.",
        program="shifter",
        images=(TYPED, REFERENCE),
        separators={**_COLON, ";": "mounts"},
    ),
    "singularity": Engine(
        apptainer.singularity,
        "singularity inherits the environment; env lets what is exported above win over the image's own variables.",
        program="singularity",
        images=(PATH, URI, REFERENCE),
        separators={**_COLON, ",": "mounts"},
        gpu_vendors=_BOTH,
    ),
}
