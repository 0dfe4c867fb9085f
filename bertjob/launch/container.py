"""The container of a job: what its engine is told, by job and site."""

from collections.abc import Mapping

from bertjob.config.job import Job
from bertjob.config.site import Site
from bertjob.launch.argv import Word, parse, quote
from bertjob.launch.engines import ENGINES, Bind, Container
from bertjob.launch.environment import OWN
from bertjob.rundir.world import PLACE


def container(
    job: Job, site: Site, environment: Mapping[str, Word], binds: tuple[Bind, ...], workdir: Word, folder: Word
) -> Container:
    """What the engine of a resolved job is told.

    Args:
        job: the resolved job.
        site: where it runs.
        environment: variables that the script exports.
        binds: folders of the host.
        workdir: folder that the program starts in.
        folder: where a file lies that the engine reads.
    """
    return Container(
        image=parse(job.image.ref or ""),
        binds=binds,
        workdir=workdir,
        folder=folder,
        gpus=job.resources.gpus_per_node or 0,
        gpu_vendor=site.gpu_vendor,
        environment=environment,
        ranks=(*OWN, *PLACE),
        args=site.engine_args,
        annotations=site.annotations,
    )


def with_gpus(job: Job, environment: Mapping[str, Word]) -> dict[str, Word]:
    """The environment with what makes the engine show GPUs, unless job or site say it otherwise."""
    assert job.engine is not None
    own = ENGINES[job.engine].gpu_environment if job.resources.gpus_per_node else {}
    return {**own, **environment}


def preparation(engine: str, told: Container, named: tuple[str, ...] = ()) -> str:
    """Lines of the script that make ready what the engine reads; empty for most.

    Args:
        engine: its name.
        told: what it is told.
        named: variables of the script that a file of the engine may name.
    """
    row = ENGINES[engine]
    lines = [row.setup] if row.setup else []
    if row.file is not None:
        name, text = row.file
        exported = " ".join(f'{name}="${name}"' for name in named)
        lines += [f"export {exported} # which the file names"] if named else []
        lines += [f"cat > {quote(told.folder + f'/{name}')} << 'END_OF_FILE'", text(told), "END_OF_FILE"]
    return "\n".join(lines)


_LACKING = "not found on $(hostname); load it in the modules of the site"
_ON_EACH_NODE = f"""\
# A node that lacks the engine is told by its name here; a launcher would only say that a rank has failed.
srun --mpi=none --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 sh -s PROGRAM << 'END_OF_CHECK'
command -v "$1" > /dev/null && exit
echo "bertjob: $1: {_LACKING}, or leave the node out by --exclude" >&2
exit 127
END_OF_CHECK"""


def presence(engine: str, slurm: bool) -> str:
    """Lines of the script that end it, in words, where a node lacks the engine; empty without one."""
    row = ENGINES[engine]
    if row.srun_option:
        lacking = f"srun on $(hostname) has no option {row.srun_option}: engine {engine} is not installed here"
        return _or_end(f"[[ $(srun --help) == *{row.srun_option}* ]]", lacking)
    if row.program and slurm:
        return _ON_EACH_NODE.replace("PROGRAM", row.program)
    return _or_end(f"command -v {row.program} > /dev/null", f"{row.program}: {_LACKING}") if row.program else ""


def _or_end(condition: str, lacking: str) -> str:
    return f'{condition} || {{\n  echo "bertjob: {lacking}" >&2\n  exit 127\n}}'
