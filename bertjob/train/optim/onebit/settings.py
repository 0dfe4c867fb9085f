"""Settings that all 1-bit optimizers take from a job."""

from typing import TYPE_CHECKING, Any

from bertjob.train.optim.onebit.routes_mpi import MpiTransport

if TYPE_CHECKING:  # it needs more than torch
    from bertjob.config import job


def common_settings(settings: "job.Optimizer") -> dict[str, Any]:
    """Keyword arguments of any 1-bit optimizer, by the settings of a job.

    Raises:
        PreflightError: it would exchange over MPI, and there is no mpi4py.
    """
    assert settings.freeze_step is not None, "a job without it is refused before it starts"
    onebit = settings.onebit
    return {
        "lr": settings.lr,
        "betas": settings.betas,
        "eps": settings.eps,
        "freeze_step": settings.freeze_step,
        "transport": MpiTransport(cuda_aware=bool(onebit.cuda_aware)) if onebit.transport == "mpi" else None,
        "hierarchical": onebit.hierarchical,
        "check_every": onebit.check_every,
    }
