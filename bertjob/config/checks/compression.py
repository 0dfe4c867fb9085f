"""Checks of 1-bit optimizers: freeze, transport, MPI, and keys that an optimizer does not read."""

from collections.abc import Iterator

from msgspec.structs import replace

from bertjob.config.checks.variance import earliest_freeze
from bertjob.config.job import Family, Job, OneBit, Optimizer
from bertjob.config.registry.optimizers import OPTIMIZERS, one_bit_names
from bertjob.config.site import Site


def freeze_problem(optimizer: Optimizer, last: int) -> str | None:
    """What is wrong with a freeze that comes no earlier than the last step, so that nothing would be compressed.

    Args:
        optimizer: of the job.
        last: number of the training's last step.
    """
    frozen, beta2 = optimizer.freeze_step, optimizer.betas[1]
    one_bit = OPTIMIZERS[optimizer.name].one_bit
    if frozen is None or (one_bit is not None and one_bit.compresses_before_freeze):
        return None
    never = f"the training ends with step {last}, so it would never compress"
    if frozen != "auto":
        return f"optimizer.freeze_step {frozen}: {never}" if frozen >= last else None
    soonest = earliest_freeze(beta2)
    unseen = f"with beta2 {beta2} the variance cannot be seen to settle before step {soonest}"
    return f"optimizer.freeze_step auto: {unseen}, and {never}" if soonest >= last else None


def by_mpi(job: Job) -> bool:
    """Whether MPI carries the compressed steps of a job."""
    transport = job.optimizer.onebit.transport
    return _compresses(job.optimizer) and (transport == "mpi" or (transport == "auto" and job.mpi))


def cuda_aware(job: Job, site: Site, family: Family | None) -> bool:
    """Whether MPI is given GPU buffers: by the job's key, else if the site sets MVAPICH's variable for it.

    Args:
        job: with a 1-bit optimizer over MPI.
        site: where it runs.
        family: the host's MPI; None if the site does not name it.
    """
    said = job.optimizer.onebit.cuda_aware
    takes_them = "MV2_USE_CUDA" in site.fabric.mpi_env.get("mpich", {})
    return said if said is not None else takes_them and family != "openmpi"


def assumed_family(job: Job, site: Site) -> Family:
    """The MPI family to assume at a site that does not name its own, following DeepSpeed's tutorial.

    With ``cuda_aware`` it is MVAPICH (`mpirun -ppn`, InfiniBand), without it Open MPI (`-npernode`, Ethernet).
    """
    return "mpich" if cuda_aware(job, site, None) else "openmpi"


def resolved(job: Job, site: Site, family: Family | None) -> Optimizer:
    """The optimizer of a job with the settings that ``onebit`` leaves open: transport, and GPU buffers for MPI."""
    if not _compresses(job.optimizer):
        return job.optimizer
    if not by_mpi(job):
        return replace(job.optimizer, onebit=replace(job.optimizer.onebit, transport="torch"))
    buffers = cuda_aware(job, site, family)
    return replace(job.optimizer, onebit=replace(job.optimizer.onebit, transport="mpi", cuda_aware=buffers))


def unread(optimizer: Optimizer) -> Iterator[str]:
    """Keys that are set and that the optimizer does not read."""
    name = optimizer.name
    if optimizer.freeze_step is not None and not _compresses(optimizer):
        yield f"optimizer.freeze_step: {name} has no frozen stage"
    default = OneBit()
    for key in OneBit.__struct_fields__:
        if getattr(optimizer.onebit, key) == getattr(default, key):
            continue
        if not _compresses(optimizer):
            yield f"optimizer.onebit.{key}: {name} compresses nothing; these do: {', '.join(one_bit_names())}"
        elif (readers := _only_readers(key)) and name not in readers:
            yield f"optimizer.onebit.{key}: {' or '.join(readers)} alone reads it, not {name}"


def problems(job: Job) -> Iterator[str]:
    """What is wrong with a resolved job whose optimizer is a 1-bit one."""
    optimizer, onebit, last = job.optimizer, job.optimizer.onebit, job.train.max_steps
    if optimizer.freeze_step is None:
        yield (
            f"optimizer.freeze_step is not said: the step from which on {optimizer.name} freezes its variance, "
            "15 to 25 % of all steps, or auto"
        )
    elif last is not None and (wrong := freeze_problem(optimizer, last)):
        yield wrong
    if onebit.transport == "mpi" and not job.mpi:
        yield "optimizer.onebit.transport mpi needs mpi: true, or the ranks do not call MPI_Init"
    if onebit.transport == "torch" and onebit.cuda_aware is not None:
        yield "optimizer.onebit.cuda_aware is of MPI, and NCCL or gloo carries the steps: say mpi: true as well"


def warnings(job: Job, nodes: int, ranks: int) -> Iterator[str]:
    """Settings under which a 1-bit optimizer compresses nothing, or freezes too early.

    Args:
        job: the resolved job.
        nodes: nodes.
        ranks: ranks over all nodes.
    """
    optimizer, last = job.optimizer, job.train.max_steps
    if not _compresses(optimizer):
        return
    plain = OPTIMIZERS[optimizer.name].label
    if ranks == 1:
        yield f"optimizer {optimizer.name}: one rank has nothing to compress, so this runs as {plain}"
    elif nodes == 1 and optimizer.onebit.hierarchical:
        yield (
            f"optimizer {optimizer.name}: hierarchical compresses between nodes, and there is one, so this runs as "
            f"{plain}"
        )
    rising = None if last is None else job.schedule.warmup_proportion * (job.schedule.total_steps or last)
    if rising is not None and isinstance(optimizer.freeze_step, int) and optimizer.freeze_step < rising:
        yield (
            f"optimizer.freeze_step {optimizer.freeze_step} freezes the variance while the learning rate still rises, "
            f"to step {rising:.0f}: it has not settled by then"
        )


def _compresses(optimizer: Optimizer) -> bool:
    return OPTIMIZERS[optimizer.name].one_bit is not None


def _only_readers(key: str) -> list[str]:
    """The optimizers that read a key of `optimizer.onebit`; empty if all 1-bit ones do."""
    return [name for name, row in OPTIMIZERS.items() if row.one_bit is not None and key in row.one_bit.own_keys]
