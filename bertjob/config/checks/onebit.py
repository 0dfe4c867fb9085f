"""1-bit optimizers: when they freeze, what they leave to the site, what they do not read, what they cannot do."""

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from bertjob.config.checks.settling import earliest
from bertjob.config.job import ONE_BIT, Family, Job, OneBit, Optimizer
from bertjob.config.site import Site


def complaint(optimizer: Optimizer, last: int) -> str | None:
    """What is wrong with a freeze that comes no earlier than the last step; 0/1 Adam compresses before it as well.

    Args:
        optimizer: of the job.
        last: number of the training's last step.
    """
    frozen, beta2 = optimizer.freeze_step, optimizer.betas[1]
    if frozen is None or optimizer.name == "zeroone-adam":
        return None
    never = f"the training ends with step {last}, so it would never compress"
    if frozen != "auto":
        return f"optimizer.freeze_step {frozen}: {never}" if frozen >= last else None
    soonest = earliest(beta2)
    unseen = f"with beta2 {beta2} the variance cannot be seen to settle before step {soonest}"
    return f"optimizer.freeze_step auto: {unseen}, and {never}" if soonest >= last else None


_OF_ONE: Mapping[str, str] = {
    "coeff_beta": "onebit-lamb",
    "factor_min": "onebit-lamb",
    "factor_max": "onebit-lamb",
    "factor_threshold": "onebit-lamb",
    "var_update_scaler": "zeroone-adam",
    "local_step_scaler": "zeroone-adam",
    "local_step_clipper": "zeroone-adam",
}
"""Keys of `optimizer.onebit` that one of them alone reads."""
_PLAIN = {"onebit-adam": "Adam", "onebit-lamb": "LAMB", "zeroone-adam": "Adam"}
"""What they are where nothing is compressed."""


def by_mpi(job: Job) -> bool:
    """Whether MPI carries the compressed steps of a job."""
    transport = job.optimizer.onebit.transport
    return job.optimizer.name in ONE_BIT and (transport == "mpi" or (transport == "auto" and job.mpi))


def cuda_aware(job: Job, site: Site, family: Family | None) -> bool:
    """Whether MPI is handed buffers of GPUs: as the job says, else where the site's variables are MVAPICH's for that.

    Args:
        job: with a 1-bit optimizer over MPI.
        site: where it runs.
        family: the host's MPI; None where the site does not say it.
    """
    said = job.optimizer.onebit.cuda_aware
    takes_them = "MV2_USE_CUDA" in site.fabric.mpi_env.get("mpich", {})
    return said if said is not None else takes_them and family != "openmpi"


def taken_family(job: Job, site: Site) -> Family:
    """Whose mpirun starts ranks over MPI at a site that does not name its own: the pairs of DeepSpeed's tutorial.

    ``cuda_aware`` is `mpirun -ppn` of MVAPICH, on InfiniBand; without it, on Ethernet, `-npernode` of Open MPI.
    """
    return "mpich" if cuda_aware(job, site, None) else "openmpi"


def resolved(job: Job, site: Site, family: Family | None) -> Optimizer:
    """The optimizer of a job with what its ``onebit`` leaves to job and site: the transport, and MPI's buffers."""
    if job.optimizer.name not in ONE_BIT:
        return job.optimizer
    if not by_mpi(job):
        return replace(job.optimizer, onebit=replace(job.optimizer.onebit, transport="torch"))
    buffers = cuda_aware(job, site, family)
    return replace(job.optimizer, onebit=replace(job.optimizer.onebit, transport="mpi", cuda_aware=buffers))


def unread(optimizer: Optimizer) -> Iterator[str]:
    """Keys that are said and that the optimizer does not read."""
    name = optimizer.name
    if optimizer.freeze_step is not None and name not in ONE_BIT:
        yield f"optimizer.freeze_step: {name} has no frozen stage"
    default = OneBit()
    for key in OneBit.__struct_fields__:
        if getattr(optimizer.onebit, key) == getattr(default, key):
            continue
        if name not in ONE_BIT:
            yield f"optimizer.onebit.{key}: {name} compresses nothing; these do: {', '.join(ONE_BIT)}"
        elif key in _OF_ONE and name != _OF_ONE[key]:
            yield f"optimizer.onebit.{key}: {_OF_ONE[key]} alone reads it, not {name}"


def problems(job: Job) -> Iterator[str]:
    """What is wrong with a resolved job whose optimizer is a 1-bit one."""
    optimizer, onebit, last = job.optimizer, job.optimizer.onebit, job.train.max_steps
    if optimizer.freeze_step is None:
        yield (
            f"optimizer.freeze_step is not said: the step from which on {optimizer.name} freezes its variance, "
            "15 to 25 % of all steps, or auto"
        )
    elif last is not None and (wrong := complaint(optimizer, last)):
        yield wrong
    if onebit.transport == "mpi" and not job.mpi:
        yield "optimizer.onebit.transport mpi needs mpi: true, or the ranks do not call MPI_Init"
    if onebit.transport == "torch" and onebit.cuda_aware is not None:
        yield "optimizer.onebit.cuda_aware is of MPI, and NCCL or gloo carries the steps: say mpi: true as well"


def warnings(job: Job, nodes: int, ranks: int) -> Iterator[str]:
    """What a 1-bit optimizer will do otherwise than its name says, or has seldom been meant to.

    Args:
        job: the resolved job.
        nodes: nodes.
        ranks: ranks over all nodes.
    """
    optimizer, last = job.optimizer, job.train.max_steps
    if optimizer.name not in ONE_BIT:
        return
    if ranks == 1:
        yield f"optimizer {optimizer.name}: one rank has nothing to compress, so this runs as {_PLAIN[optimizer.name]}"
    elif nodes == 1 and optimizer.onebit.hierarchical:
        yield (
            f"optimizer {optimizer.name}: hierarchical compresses between nodes, and there is one, so this runs as "
            f"{_PLAIN[optimizer.name]}"
        )
    rising = None if last is None else job.schedule.warmup_proportion * (job.schedule.total_steps or last)
    if rising is not None and isinstance(optimizer.freeze_step, int) and optimizer.freeze_step < rising:
        yield (
            f"optimizer.freeze_step {optimizer.freeze_step} freezes the variance while the learning rate still rises, "
            f"to step {rising:.0f}: it has not settled by then"
        )
