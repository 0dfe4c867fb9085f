"""MPI in the ranks, for jobs that say ``mpi: true``: its world must be the planned one.

An MPI that does not understand its launcher makes every process rank 0 of 1, without a word, or aborts in MPI_Init with
a page of its own that names no remedy here. Both are said in one line.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from bertjob.config.registry.launchers import LAUNCHERS, SLURM
from bertjob.errors import WorldError
from bertjob.rundir.world import World
from bertjob.train.distributed.reach import CONNECT_SECONDS

_LOG = logging.getLogger(__name__)
_REMEDY = "say mpi.family and mpi.slurm of the site, image.mpi of an image, and launcher: auto finds what fits"

FEAR = f"MPI_Init ended the ranks: their MPI does not understand what started them; {_REMEDY}"
"""What has happened where `join` does not return."""


def join(world: World, env: Mapping[str, str], hung: Callable[[], object]) -> str:
    """Call MPI_Init, compare, and have all ranks talk once; called by all ranks.

    Args:
        world: this rank's place by the plan.
        env: the environment that the launcher made.
        hung: is called from another thread where that is not done within CONNECT_SECONDS.

    Returns:
        The library, e.g. ``Open MPI v5.0.11``.

    Raises:
        WorldError: there is no mpi4py or no MPI library, MPI_Init would abort, or MPI's world is another one.
    """
    try:
        import mpi4py

        mpi4py.rc.initialize = False  # first it must be known whether it would abort
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise WorldError(f"mpi: true needs mpi4py and an MPI library for the ranks' Python: {error}") from None
    library = short(MPI.Get_library_version())
    if would_abort(library, env):
        raise WorldError(
            f"{library} would abort in MPI_Init: srun, which started it, offers it no PMI that it speaks; {_REMEDY}"
        )
    if world.rank == 0:
        _LOG.info("MPI_Init of %s", library)  # the last word, if it aborts all the same
    with guard(hung):
        MPI.Init_thread()
        check(library, MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size(), world)
        MPI.COMM_WORLD.Barrier()  # Open MPI connects when there is something to say, and a wrong address hangs it then
    return library


@contextlib.contextmanager
def guard(hung: Callable[[], object], seconds: float = CONNECT_SECONDS) -> Iterator[None]:
    """Call `hung` from another thread where the body takes longer."""
    timer = threading.Timer(seconds, hung)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def hang(shared: str) -> str:
    """The line for ranks that MPI has not connected; `shared` is of `interfaces.shared_addresses`."""
    cause = f": these have one address on several nodes, {shared}" if shared else ""
    return (
        f"MPI has not connected the ranks within {CONNECT_SECONDS:g} s{cause}; set fabric.interface of the"
        " site to the network between the nodes"
    )


def short(version: str) -> str:
    """The name and number in what a library says of itself: ``Open MPI v5.0.11``, ``MPICH 5.0.2``."""
    line = version.rstrip("\0").partition("\n")[0].partition(",")[0]
    return " ".join(line.replace("Version:", "").split())


def leave() -> None:
    """Call MPI_Finalize, without which mpirun reports a failure; nothing where MPI was not joined."""
    from mpi4py import MPI

    MPI.Finalize()


def would_abort(library: str, env: Mapping[str, str]) -> bool:
    """Whether MPI_Init ends the process: Open MPI 4 does in a step of srun without PMIx, PMI-2 or PMI-1."""
    in_a_step = SLURM.size in env
    offered = any(name in env for row in LAUNCHERS.values() for name in row.pmi_variables)
    return library.startswith(("Open MPI v4", "Open MPI v3", "Open MPI v2")) and in_a_step and not offered


def check(library: str, rank: int, size: int, world: World) -> None:
    """Stop a rank whose place by MPI is not the planned one.

    Raises:
        WorldError: says both.
    """
    if (rank, size) == (world.rank, world.size):
        return
    if size == 1:
        raise WorldError(
            f"{library} takes every process for rank 0 of 1, the plan has {world.size} ranks: it does not understand"
            f" its launcher; {_REMEDY}"
        )
    raise WorldError(
        f"{library} takes this process for rank {rank} of {size}, but it is rank {world.rank} of {world.size}"
        f" by {world.source}"
    )
