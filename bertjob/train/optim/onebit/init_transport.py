"""How bytes get from rank to rank: two collectives, over torch.distributed (gloo, NCCL) or MPI."""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Work(Protocol):
    """A collective on its way."""

    def wait(self) -> object:
        """Wait until what is received is there: on a GPU, for the kernels that are started from now on."""


class Transport(Protocol):
    """Some ranks that exchange tensors.

    All of them call the same methods in the same order. Tensors are contiguous, and stay as they are until `wait`.
    """

    @property
    def rank(self) -> int:
        """This rank's number among them."""

    @property
    def size(self) -> int:
        """How many they are."""

    def all_to_all(self, send: Tensor, receive: Tensor) -> Work:
        """Send row r of `send` to rank r, and receive rank r's into row r of `receive`: both ``[size, ...]``."""

    def all_gather(self, send: Tensor, receive: Tensor) -> Work:
        """Send `send` to all, and receive rank r's into row r of `receive`: ``[...]`` and ``[size, ...]``."""

    def among(self, groups: Sequence[Sequence[int]]) -> "Transport":
        """The ranks of that of `groups` in which this rank is; each rank is in one of them."""
