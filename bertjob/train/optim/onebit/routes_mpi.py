"""Collectives by MPI, through mpi4py: over whatever the cluster's MPI library knows of its network."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bertjob.errors import PreflightError


class MpiTransport:
    """The ranks of a communicator (see routes.Transport).

    Where `cuda_aware`, MPI is handed the buffers of GPUs; otherwise they are staged through pinned memory of the host.
    """

    def __init__(self, *, cuda_aware: bool, communicator: Any = None) -> None:
        """Exchange over `communicator`, one of mpi4py's; by default that of all ranks.

        Raises:
            PreflightError: there is no mpi4py, or no MPI library for it.
        """
        self._communicator = communicator if communicator is not None else _world()
        self._cuda_aware = cuda_aware
        self.rank: int = self._communicator.Get_rank()
        self.size: int = self._communicator.Get_size()

    def all_to_all(self, send: Tensor, receive: Tensor) -> "_Request":
        """Start it."""
        return self._start(self._communicator.Ialltoall, send, receive)

    def all_gather(self, send: Tensor, receive: Tensor) -> "_Request":
        """Start it."""
        return self._start(self._communicator.Iallgather, send, receive)

    def among(self, groups: Sequence[Sequence[int]]) -> "MpiTransport":
        """Split the communicator."""
        color = next(number for number, ranks in enumerate(groups) if self.rank in ranks)
        key = groups[color].index(self.rank)
        return MpiTransport(cuda_aware=self._cuda_aware, communicator=self._communicator.Split(color, key))

    def _start(self, collective: Any, send: Tensor, receive: Tensor) -> "_Request":
        landing = receive
        if send.is_cuda:
            if not self._cuda_aware:
                send = torch.empty_like(send, device="cpu", pin_memory=True).copy_(send, non_blocking=True)
                landing = torch.empty_like(receive, device="cpu", pin_memory=True)
            torch.cuda.current_stream(receive.device).synchronize()  # MPI knows nothing of streams
        return _Request(collective(send, landing), send, landing, receive)


class _Request:
    """A collective of MPI on its way, with its buffers."""

    def __init__(self, request: Any, send: Tensor, landing: Tensor, receive: Tensor) -> None:
        self._request = request
        self._send = send
        self._landing = landing
        self._receive = receive

    def wait(self) -> None:
        """Wait, and bring what was received to where it belongs."""
        self._request.Wait()
        if self._landing is not self._receive:
            self._receive.copy_(self._landing, non_blocking=True)


def _world() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise PreflightError(
            f"the MPI transport of a 1-bit optimizer needs mpi4py and an MPI library for the ranks' Python: {reason}; "
            "or choose the transport torch"
        ) from None
    return MPI.COMM_WORLD
