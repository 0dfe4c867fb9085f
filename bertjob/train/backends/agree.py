"""One rank's failure is every rank's: nobody goes on to a collective that another will never reach."""

import torch
from torch import distributed

from bertjob.errors import CheckpointError


def raise_together(failure: CheckpointError | None, device: torch.device) -> None:
    """Return on all ranks when no rank failed, else raise on all of them; called by every rank.

    Args:
        failure: what went wrong on this rank, if anything.
        device: where this process group's tensors live.

    Raises:
        CheckpointError: this rank's own failure, or that another rank has one.
    """
    if not distributed.is_initialized():
        failed = int(failure is not None)
    else:
        flag = torch.tensor(int(failure is not None), device=device)
        distributed.all_reduce(flag)
        failed = int(flag.item())
    if failure is not None:
        raise failure
    if failed:
        raise CheckpointError(
            f"{failed} other rank{'s' if failed > 1 else ''} failed with the checkpoint: see their logs"
        )
