"""Batch arithmetic: ``global = micro x accumulation x world``, solved on the login node."""

import math

from bertjob.errors import SpecError


def total_steps(samples: int, epochs: float, global_batch: int, max_steps: int | None) -> int:
    """Optimizer steps of a training; every step is full, the last one goes on into the next epoch.

    Args:
        samples: of an epoch.
        epochs: passes over them, whole or not.
        global_batch: samples an optimizer step, over all ranks.
        max_steps: where it ends at the latest.
    """
    steps = max(1, math.ceil(epochs * samples / global_batch - 1e-9))  # 1.1 x 100 is more than 110
    return steps if max_steps is None else min(steps, max_steps)


def solve(global_batch: int, micro_batch: int, world: int) -> int:
    """The accumulation: micro batches that each rank adds up before one optimizer step.

    Args:
        global_batch: samples an optimizer step, over all ranks.
        micro_batch: samples a rank takes at once.
        world: number of ranks.

    Raises:
        SpecError: they do not divide; names the nearest global batches, micro batches and worlds that do.
    """
    at_once = micro_batch * world
    if global_batch % at_once == 0:
        return global_batch // at_once
    below = global_batch // at_once * at_once
    nearest = " or ".join(str(batch) for batch in (below, below + at_once) if batch)
    ways = [f"train.global_batch {nearest}"]
    if micros := _nearest([m for m in divisors(global_batch) if global_batch % (m * world) == 0], micro_batch):
        ways.append(f"train.micro_batch {micros}")
    if worlds := _nearest([w for w in divisors(global_batch) if global_batch % (micro_batch * w) == 0], world):
        ways.append(f"{worlds} ranks")
    raise SpecError(
        f"global batch {global_batch} is no multiple of micro batch {micro_batch} x {world} ranks = {at_once}; "
        f"what works: {'; '.join(ways)}"
    )


def divisors(number: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def _nearest(candidates: list[int], wanted: int) -> str:
    """Up to two candidates on either side of the wanted number, as words."""
    below = [c for c in candidates if c < wanted][-1:]
    above = [c for c in candidates if c > wanted][:1]
    return " or ".join(str(c) for c in below + above)
