"""Phrases that many messages have: counted things, an error in one line, and what a mistyped name probably meant."""

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """The number with its noun, whose plural ends in s: ``1 rank``, ``0 ranks``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, or its kind where there is none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The closest known name, or None if none is close."""
    from difflib import get_close_matches  # only errors need it

    folded = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error line about an unknown name: the nearest known one, or all of them."""
    names = sorted(known)
    close = nearest(name, names)
    return f"did you mean {close!r}?" if close else f"known: {', '.join(names)}"
