"""The head of a script: its #SBATCH lines, as sbatch reads them, and the language of the rest."""

import re
import shlex
from collections.abc import Iterable, Iterator

from bertjob.lint import sbatch
from bertjob.lint.bash.commands import SHELLS
from bertjob.lint.bash.sbatch_script import Directive

_NEXT_COMPONENT = re.compile("hetjob|packjob", re.IGNORECASE)
"""What sbatch looks for anywhere in a line, whose other words it then drops."""


def length(lines: tuple[str, ...]) -> int:
    """How many lines there are before the first that is neither blank nor a comment."""
    return next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))


def other_language(lines: tuple[str, ...]) -> str | None:
    """The interpreter that the first line names, if it is no shell with the grammar of bash."""
    words = lines[0].removeprefix("#!").split() if lines[0].startswith("#!") else []
    if words and words[0].rpartition("/")[2] == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    name = words[0].rpartition("/")[2] if words else ""
    return name if name and name not in SHELLS else None


def directives(
    lines: tuple[str, ...], comments: Iterable[tuple[int, str]]
) -> tuple[tuple[Directive, ...], tuple[int, ...]]:
    """What sbatch reads, the lines down to the first that is neither blank nor a comment, and what it does not read.

    Args:
        lines: of the script.
        comments: in the whole script: index of the line, and text from its #.
    """
    first = length(lines)
    live = [
        Directive(name, sbatch.long_name(name), value, number)
        for number, line in enumerate(lines[:first], start=1)
        if line.startswith("#SBATCH")
        for name, value in _options(line.removeprefix("#SBATCH"))
    ]
    written = sorted(number for number, text in comments if re.match(r"#SBATCH\s+-", text))
    read = {number for number in range(first) if lines[number].startswith("#SBATCH")}
    return tuple(live), tuple(number + 1 for number in written if number not in read)


def _options(text: str) -> Iterator[tuple[str, str | None]]:
    if _NEXT_COMPONENT.search(text):
        return iter([("hetjob", None)])
    return sbatch.options(_split(text))


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # a quote that is not closed
        return text.split()
