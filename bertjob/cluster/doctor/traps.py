"""Traps of Slurm's releases, and what bertjob does about each.

From Slurm's release notes and from what was seen on 22.05.8.
"""

import msgspec

Release = tuple[int, int]
_EVER: Release = (99, 0)


class Trap(msgspec.Struct, frozen=True):
    """Something that a release does and people do not expect.

    Attributes:
        first: the first release that has it.
        before: the first one that has it no longer.
        what: what happens.
        answer: what bertjob's scripts do about it.
    """

    first: Release
    before: Release
    what: str
    answer: str


TRAPS = (
    Trap((0, 0), (19, 5), "sbatch has no --gpus-per-node", "`gpu_option: gres` in the site asks by --gres"),
    Trap((20, 11), _EVER, "a step inside a step waits for ever", "shared nodes get --overlap"),
    Trap((22, 5), (22, 6), "takes backslashes out of the path of the log", "such run directories are refused"),
    Trap((22, 5), _EVER, "srun takes no --cpus-per-task from sbatch", "the scripts hand it to srun as well"),
    Trap((0, 0), (23, 2), "a log is lost if its folder is made late", "submit makes it first"),
)


def traps(release: Release) -> list[Trap]:
    """The traps of a release."""
    return [trap for trap in TRAPS if trap.first <= release < trap.before]
