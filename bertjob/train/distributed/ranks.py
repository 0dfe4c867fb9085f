"""All ranks as one: what they agree on, over gloo on the CPU, so that no question makes a GPU wait.

Every method is a collective: all ranks call it, in the same order. With one rank nothing is sent. Values travel as
MessagePack and are read by a schema, never as pickles: gloo's connections are not authenticated, and to unpickle what
comes from a network is to run its code. JSON would lose numbers that are not finite.
"""

import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import distributed_c10d

from bertjob.errors import WorldError
from bertjob.rundir.world import World

T = TypeVar("T")
_BYTES_AT_MOST = 1 << 31
"""Of a value: what claims to be longer is none."""


class Ranks:
    """The ranks of a run, seen from one of them."""

    def __init__(self, world: World, group: dist.ProcessGroup) -> None:
        """Speak over `group`, a gloo group of all ranks."""
        self.world = world
        self._group = group

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes the files that a run has once."""
        return self.world.rank == 0

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether it is set on at least one rank."""
        if self.world.size == 1:
            return flags
        votes = torch.tensor(flags, dtype=torch.uint8)
        dist.all_reduce(votes, dist.ReduceOp.MAX, group=self._group)
        return tuple(bool(vote) for vote in votes)

    def sum(self, *numbers: float) -> tuple[float, ...]:
        """Each number added up over the ranks, in float64."""
        if self.world.size == 1:
            return numbers
        sums = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(sums, group=self._group)
        return tuple(sums.tolist())

    def from_first(self, choose: Callable[[], T], kind: Any) -> T:
        """What `choose` returns on rank 0, the only one that calls it.

        Args:
            choose: makes the value.
            kind: the value's type, ``dict[str, float] | None`` or the like, by which it is read.

        Raises:
            WorldError: rank 0 sent something else.
        """
        if self.world.size == 1:
            return choose()
        sent = _pack(choose()) if self.first else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(sent)])
        dist.broadcast(length, src=0, group=self._group)
        value = sent if self.first else torch.empty(_plausible(length, 0), dtype=torch.uint8)
        dist.broadcast(value, src=0, group=self._group)
        unpacked: T = _unpack(value, kind, 0)
        return unpacked

    def gather(self, value: T, kind: Any) -> list[T]:
        """Every rank's value, in their order, on all ranks.

        Args:
            value: this rank's.
            kind: the type of all of them, by which they are read.

        Raises:
            WorldError: a rank sent something else.
        """
        if self.world.size == 1:
            return [value]
        own = _pack(value)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world.size)]
        dist.all_gather(lengths, torch.tensor([len(own)]), group=self._group)
        sizes = [_plausible(length, rank) for rank, length in enumerate(lengths)]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(own)] = own
        found = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(found, padded, group=self._group)
        return [_unpack(sent[:size], kind, rank) for rank, (sent, size) in enumerate(zip(found, sizes, strict=True))]

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        if self.world.size > 1:
            dist.barrier(group=self._group)


def _pack(value: object) -> Tensor:
    try:
        packed = msgspec.msgpack.encode(value)
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        packed = msgspec.msgpack.encode(_as_unicode(msgspec.to_builtins(value)))
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8)


def _as_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_as_unicode(each) for each in value]
    if isinstance(value, dict):
        return {_as_unicode(key): _as_unicode(each) for key, each in value.items()}
    return value


def _unpack(sent: Tensor, kind: Any, rank: int) -> Any:
    try:
        return msgspec.msgpack.decode(sent.numpy().data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise WorldError(f"rank {rank} sent what is not expected here: {error}") from None


def _plausible(length: Tensor, rank: int) -> int:
    size = int(length)
    if not 0 < size <= _BYTES_AT_MOST:
        raise WorldError(f"rank {rank} sent what is not expected here: {size} bytes")
    return size


class _Refusing:
    """In place of the class by which torch's object collectives unpickle."""

    def __init__(self, file: io.BytesIO) -> None:
        pass

    def load(self) -> NoReturn:
        raise WorldError(
            "a library exchanges pickles over the network (torch's object collectives), which could be code"
        )


def refuse_pickles() -> None:
    """Let no library of this process unpickle what comes from the network by torch's collectives.

    bertjob uses none of these collectives, nor do DistributedDataParallel and DeepSpeed 0.18 as we call them.
    """
    dist.distributed_c10d._unpickler = _Refusing  # type: ignore[assignment]  # of torch 2.6 to 2.13


_Gloo: Any = dist.ProcessGroupGloo


def use_gloo_at(address: str) -> None:
    """From here on, all groups of this process that gloo carries talk from this address of the host.

    By GLOO_SOCKET_IFNAME gloo takes the first address of an interface, which may lead nowhere. torch passes no options
    on to it (distributed_c10d.py of 2.13), so its class is replaced there by one that has them.
    """

    class AtAddress(_Gloo):  # type: ignore[misc]  # bound from C++
        """gloo with a device of its own choice."""

        def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta) -> None:
            options: Any = _Gloo._Options()
            options._devices = [_Gloo.create_device(hostname=address)]
            options._timeout = timeout
            super().__init__(store, rank, size, options)

    c10d: Any = distributed_c10d
    c10d.ProcessGroupGloo = AtAddress
