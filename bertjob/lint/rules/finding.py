"""What a rule says: where, and why."""

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec

from bertjob.lint.bash.sbatch_script import Script

Severity = Literal["error", "warning"]


class Found(NamedTuple):
    """A place that a rule objects to."""

    line: int
    reason: str


class Rule(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        name: stable: people silence rules by it.
        severity: an error fails, hangs, or does something else than it says; a warning may, or costs less.
        what: one line for the list of rules.
        remedy: what to write instead.
        find: the places.
    """

    name: str
    severity: Severity
    what: str
    remedy: str
    find: Callable[[Script], Iterator[Found]]


class Finding(msgspec.Struct, frozen=True):
    """A line of the answer."""

    line: int
    severity: Severity
    rule: str
    reason: str
    remedy: str
