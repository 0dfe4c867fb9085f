"""What a check found: green, yellow or red, and the remedy."""

from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line of doctor.

    Attributes:
        check: what was looked at, in one or two words.
        level: `fail` would stop a job; `warn` is seldom meant.
        finding: what is so.
        remedy: what to do; empty where nothing need be done.
    """

    check: str
    level: Level
    finding: str
    remedy: str = ""


def ok(check: str, finding: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", finding)


def warn(check: str, finding: str, remedy: str) -> Finding:
    """It works, but is seldom meant."""
    return Finding(check, "warn", finding, remedy)


def fail(check: str, finding: str, remedy: str) -> Finding:
    """A job would not work."""
    return Finding(check, "fail", finding, remedy)
