"""Container engines: all that bertjob knows of each, in one row of one table.

A new engine is a function from `Container` to words, what it does with images and how its command line is read, in the
module of its family, and one row of `ENGINES`; its name is also one of `config.job.Engine`.
"""

from collections.abc import Mapping

from bertjob.launch.engines import apptainer, docker, enroot, sarus
from bertjob.launch.engines.references import ENROOT, PATH, REFERENCE, TYPED, URI
from bertjob.launch.engines.types import SOFTWARE, Bind, Container, Engine, GpuVendor, Images, Limits, Untold

__all__ = ["ENGINES", "Bind", "Container", "Engine", "containers", "find_engine"]

_NVIDIA: frozenset[GpuVendor] = frozenset({"nvidia"})
_BOTH: frozenset[GpuVendor] = frozenset({"nvidia", "amd"})
_FIELDS = {",": "the fields of a mount"}
_QUOTED_FIELDS = {**_FIELDS, '"': "quoted fields of a mount"}
_COLON = {":": "source and target of a mount"}
_ENROOT_MOUNT = {**_COLON, ",": "mounts", " ": "the fields of a mount"}
_LIBRARIES = tuple(name for name in SOFTWARE if name != "PATH")
"""What reaches a container where the image has none; Apptainer and Singularity never take the host's LD_LIBRARY_PATH
(alwaysOmitKeys in internal/pkg/util/env/clean.go)."""
_OF_APPTAINER = tuple(name for name in _LIBRARIES if name != "LD_LIBRARY_PATH")
_NO_CONTAINER = "starts no container"

ENGINES: Mapping[str, Engine] = {
    "none": Engine(
        command=lambda container: (),
        note="",
        program="",
        images=Images(
            build=_NO_CONTAINER, pull=_NO_CONTAINER, load=_NO_CONTAINER, list=_NO_CONTAINER, digest=_NO_CONTAINER
        ),
        takes=(),
        cli=None,
        untold=Untold(entry_point=False, image_workdir=False, gpus=True, root=False),
        limits=Limits(gpu_vendors=_BOTH, separators={}, annotations=False, takes_args=False),
        passes_open_files=True,
    ),
    "apptainer": Engine(
        command=apptainer.apptainer,
        note="apptainer inherits the environment; env lets what is exported above win over the image's own variables.",
        inherits=_OF_APPTAINER,
        program="apptainer",
        images=apptainer.images("apptainer"),
        takes=(PATH, URI, REFERENCE),
        cli=apptainer.APPTAINER_CLI,
        untold=Untold(entry_point=False, image_workdir=False, gpus=False, root=False),
        limits=Limits(gpu_vendors=_BOTH, separators={**_COLON, ",": "mounts"}, annotations=False),
        passes_open_files=True,
        image_hint="docker://REFERENCE or /path.sif",
    ),
    "charliecloud": Engine(
        command=apptainer.charliecloud,
        note="ch-run with the host's environment, but the image's own PATH, libraries and packages; what it mounts must"
        " be there as a folder in the image.",
        program="ch-run",
        images=apptainer.CHARLIECLOUD_IMAGES,
        takes=(PATH, REFERENCE),
        cli=apptainer.CHARLIECLOUD_CLI,
        untold=Untold(entry_point=False, image_workdir=False, gpus=False, root=False),
        limits=Limits(gpu_vendors=_BOTH, separators=_COLON, annotations=False, readonly_mounts=False),
        passes_open_files=True,
        setup='export USER="${USER:-$(id -un)}" # ch-run stops without it',
        folder_image=apptainer.CHARLIECLOUD_FOLDER,
        image_hint="the name of an unpacked image, or its path",
    ),
    "docker": Engine(
        command=docker.docker,
        note="docker's daemon starts the containers, so each variable of the ranks is handed in by its name.",
        program="docker",
        images=docker.DOCKER_IMAGES,
        takes=(REFERENCE,),
        cli=docker.DOCKER_CLI,
        untold=Untold(entry_point=True, image_workdir=True, gpus=False, root=True),
        limits=Limits(gpu_vendors=_BOTH, separators=_QUOTED_FIELDS, annotations=False),
        passes_open_files=False,
        setup="GID=$(id -g) # files that the ranks write are the user's, not the daemon's",
        daemon=True,
    ),
    "edf": Engine(
        command=enroot.edf,
        note="CSCS's Container Engine, a part of srun: the container is what the file says.",
        inherits=_LIBRARIES,
        program="",
        images=enroot.IMAGES,
        takes=(PATH, ENROOT, REFERENCE),
        cli=None,
        untold=Untold(entry_point=False, image_workdir=False, gpus=True, root=False),
        limits=Limits(
            gpu_vendors=_NVIDIA,
            separators=_ENROOT_MOUNT,
            annotations=True,
            empty_variables=False,
            takes_args=False,
        ),
        passes_open_files=True,
        srun_option="--environment",
        slurm_options=enroot.EDF_SLURM_OPTIONS,
        file=enroot.EDF_FILE,
        image_hint="REGISTRY#NAME:TAG or /path.sqsh",
    ),
    "podman": Engine(
        command=docker.podman,
        note="podman with the host's variables and namespaces: that is how the ranks find their place and each other.",
        by_names=True,
        program="podman",
        images=docker.PODMAN_IMAGES,
        takes=(REFERENCE,),
        cli=docker.PODMAN_CLI,
        untold=Untold(entry_point=True, image_workdir=True, gpus=False, root=True),
        limits=Limits(gpu_vendors=_BOTH, separators=_QUOTED_FIELDS, annotations=True),
        passes_open_files=False,
    ),
    "podman-hpc": Engine(
        command=docker.podman_hpc,
        note="podman-hpc with the host's variables and namespaces: so the ranks find their place and each other.",
        by_names=True,
        program="podman-hpc",
        images=docker.PODMAN_HPC_IMAGES,
        takes=(REFERENCE,),
        cli=docker.PODMAN_CLI,
        untold=Untold(entry_point=True, image_workdir=True, gpus=False, root=True),
        limits=Limits(gpu_vendors=_NVIDIA, separators=_QUOTED_FIELDS, annotations=True),
        passes_open_files=False,
    ),
    "pyxis": Engine(
        command=enroot.pyxis,
        note="pyxis, a part of srun: the image would win over the variables that --container-env does not name.",
        inherits=_LIBRARIES,
        program="",
        images=enroot.IMAGES,
        takes=(PATH, ENROOT, REFERENCE),
        cli=None,
        untold=Untold(entry_point=False, image_workdir=False, gpus=False, root=False),
        limits=Limits(gpu_vendors=_NVIDIA, separators=_ENROOT_MOUNT, annotations=False),
        passes_open_files=True,
        srun_option="--container-image",
        slurm_options=enroot.PYXIS_SLURM_OPTIONS,
        gpu_environment={"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
        image_hint="REGISTRY#NAME:TAG or /path.sqsh",
    ),
    "sarus": Engine(
        command=sarus.sarus,
        note="sarus without --tty: it stops where there is no terminal, as in a batch step; only `srun --pty` gives"
        " one, to rank 0.",
        note_at_terminal="sarus without --tty: it would work, as mpirun gives each rank a terminal, but a terminal"
        " mixes stderr into stdout.",
        inherits=_LIBRARIES,
        program="sarus",
        images=sarus.SARUS_IMAGES,
        takes=(REFERENCE,),
        cli=sarus.SARUS_CLI,
        untold=Untold(entry_point=True, image_workdir=True, gpus=True, root=False),
        limits=Limits(gpu_vendors=_NVIDIA, separators=_FIELDS, annotations=True),
        passes_open_files=True,
    ),
    "shifter": Engine(
        command=sarus.shifter,
        note="shifter inherits the environment; --env lets what is exported above win over the image's own variables.",
        inherits=_LIBRARIES,
        program="shifter",
        images=sarus.SHIFTER_IMAGES,
        takes=(TYPED, REFERENCE),
        cli=sarus.SHIFTER_CLI,
        untold=Untold(entry_point=False, image_workdir=False, gpus=True, root=False),
        limits=Limits(
            gpu_vendors=_NVIDIA,
            separators={**_COLON, ";": "mounts"},
            annotations=False,
            reserved=("/etc", "/var", "/opt/udiImage"),
        ),
        passes_open_files=True,
        slurm_options=sarus.SHIFTER_SLURM_OPTIONS,
    ),
    "singularity": Engine(
        command=apptainer.singularity,
        note="singularity inherits the environment; env lets what is exported above win over the image's own"
        " variables.",
        inherits=_OF_APPTAINER,
        program="singularity",
        images=apptainer.images("singularity"),
        takes=(PATH, URI, REFERENCE),
        cli=apptainer.APPTAINER_CLI,
        untold=Untold(entry_point=False, image_workdir=False, gpus=False, root=False),
        limits=Limits(gpu_vendors=_BOTH, separators={**_COLON, ",": "mounts"}, annotations=False),
        passes_open_files=True,
        image_hint="docker://REFERENCE or /path.sif",
    ),
}


def containers() -> dict[str, Engine]:
    """The engines that start containers: all but ``none``."""
    return {name: row for name, row in ENGINES.items() if name != "none"}


def find_engine(program: str) -> str | None:
    """The engine whose command lines begin with a program; None for any other program."""
    for name, row in ENGINES.items():
        if row.cli is not None and program in (row.program, *row.cli.aliases):
            return name
    return None
