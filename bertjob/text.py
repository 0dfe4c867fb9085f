"""Phrases that many messages have: counted things, an error in one line, and what a mistyped name probably meant.

And text that others have written, made fit to be shown.
"""

import errno
import re
from collections.abc import Iterable, Mapping

_NO_ROOM: Mapping[int | None, str] = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
_IN_TEXT = re.compile(r"\(os error (\d+)\)")
"""How Rust's libraries (safetensors, tokenizers) end what the system said (std::io::Error's Display)."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Controls of Unicode (category Cc) but tab and newline, and those that turn the direction of text or end a line."""


def visible(text: str) -> str:
    """The text with control characters as escapes, such as a terminal would act on; tabs and newlines stay."""
    return _CONTROL.sub(_escape, text)


def visible_line(text: str) -> str:
    """The same on one line: newlines and tabs are escapes, too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def _escape(found: re.Match[str]) -> str:
    """As Python writes it, and JSON, which has itself escaped what is below a blank."""
    code = ord(found[0])
    return "\\r" if code == 0x0D else f"\\x{code:02x}" if code < 0x20 else f"\\u{code:04x}"


def counted(number: int, noun: str) -> str:
    """The number with its noun, whose plural ends in s: ``1 rank``, ``0 ranks``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something, or its kind where there is none."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


def is_full(error: BaseException) -> bool:
    """Whether there was no room on a disk, or no more for this user."""
    return reason(error) in _NO_ROOM.values()


def reason(error: BaseException) -> str:
    """Why a file cannot be read or written; a full disk is called so, whichever library has met it."""
    met: BaseException | None = error
    while met is not None:  # torch's writer raises a RuntimeError while it handles the system's
        told = _IN_TEXT.search(str(met))
        number = int(told[1]) if told else met.errno if isinstance(met, OSError) else None
        if number in _NO_ROOM:
            return _NO_ROOM[number]
        met = met.__context__
    return getattr(error, "strerror", None) or first_line(error)


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
