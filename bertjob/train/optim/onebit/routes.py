"""How bytes get from rank to rank: collectives over torch.distributed or MPI, in one group or by node."""

import hashlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from bertjob.errors import WorldError


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


class Done:
    """A collective that is over."""

    def wait(self) -> None:
        """Nothing is left to wait for."""


class Alone:
    """The only rank (see Transport)."""

    rank = 0
    size = 1

    def all_to_all(self, send: Tensor, receive: Tensor) -> Done:
        """Copy."""
        receive.copy_(send)
        return Done()

    def all_gather(self, send: Tensor, receive: Tensor) -> Done:
        """Copy."""
        receive[0].copy_(send)
        return Done()

    def among(self, groups: Sequence[Sequence[int]]) -> "Alone":
        """There are no others."""
        assert list(map(list, groups)) == [[0]]
        return self


_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
"""Its name since torch 2.13, or the older one."""


class TorchTransport:
    """The ranks of a process group (see Transport)."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        """Exchange over `group`; by default that of all ranks."""
        self._group = group or dist.group.WORLD
        self.rank = dist.get_rank(self._group)
        self.size = dist.get_world_size(self._group)

    def all_to_all(self, send: Tensor, receive: Tensor) -> dist.Work:
        """Start it."""
        return _started(dist.all_to_all_single(receive, send, group=self._group, async_op=True))

    def all_gather(self, send: Tensor, receive: Tensor) -> dist.Work:
        """Start it."""
        flat = receive.view(-1)  # gloo and NCCL want them end to end
        return _started(_all_gather(flat, send.view(-1), group=self._group, async_op=True))

    def among(self, groups: Sequence[Sequence[int]]) -> "TorchTransport":
        """Make a process group for each."""
        mine = [dist.new_group(list(ranks)) for ranks in groups]  # all ranks make all groups
        return TorchTransport(next(group for group, ranks in zip(mine, groups, strict=True) if self.rank in ranks))


def _started(work: dist.Work | None) -> dist.Work:
    assert work is not None, "torch returns no work to ranks outside of the group"
    return work


@dataclass(frozen=True, slots=True)
class Routes:
    """The ways from one rank to the others.

    Attributes:
        world: all ranks.
        inside: those on its node, which add up in full precision.
        between: one of each node, this rank among them, which exchange single bits.
    """

    world: Transport
    inside: Transport
    between: Transport


def direct(world: Transport) -> Routes:
    """Each rank exchanges single bits with all others."""
    return Routes(world, Alone(), world)


def by_node(world: Transport, device: torch.device, host: str = "") -> Routes:
    """Ranks of a node add up what they have, each a part of it, and exchange that part with the other nodes.

    Called by all ranks.

    Args:
        world: all ranks.
        device: where their tensors are.
        host: what this rank calls its node; by default the host's name.

    Raises:
        WorldError: the nodes have different numbers of ranks.
    """
    name = hashlib.sha256((host or socket.gethostname()).encode()).digest()[:8]
    own = torch.frombuffer(bytearray(name), dtype=torch.int64).to(device)
    hosts = torch.empty(world.size, 1, dtype=torch.int64, device=device)
    world.all_gather(own, hosts).wait()
    nodes: dict[int, list[int]] = {}
    for rank, found in enumerate(hosts.flatten().tolist()):
        nodes.setdefault(found, []).append(rank)
    if len({len(ranks) for ranks in nodes.values()}) > 1:
        counts = ", ".join(str(len(ranks)) for ranks in nodes.values())
        raise WorldError(f"hierarchical 1-bit exchange needs as many ranks on each node, here are {counts}")
    inside = list(nodes.values())
    between = [list(ranks) for ranks in zip(*inside, strict=True)]
    return Routes(world, world.among(inside), world.among(between))
