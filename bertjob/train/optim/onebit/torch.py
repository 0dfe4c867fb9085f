"""Collectives by torch.distributed: gloo between CPUs, NCCL between GPUs."""

from collections.abc import Sequence

import torch.distributed as dist
from torch import Tensor

_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
"""Its name since torch 2.13, or the older one."""


class TorchTransport:
    """The ranks of a process group (see transport.Transport)."""

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
