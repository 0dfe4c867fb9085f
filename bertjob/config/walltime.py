"""Walltimes in the forms that Slurm's ``--time`` takes (man sbatch)."""

import re

from bertjob.errors import SpecError

_FORMS = "minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or days-hours:minutes:seconds"
_PLAIN = re.compile(r"(?:(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+)|(?P<minutes>\d+))", re.ASCII)
_DAYS = re.compile(r"(?P<d>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?", re.ASCII)
_LONGEST = 10 * 366 * 86400


def parse(text: str) -> int:
    """Seconds of a walltime, e.g. ``30`` (minutes), ``00:20:00``, ``1-12``.

    Raises:
        SpecError: the text is none of Slurm's forms, or zero.
    """
    match = _PLAIN.fullmatch(text.strip()) or _DAYS.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"{text!r} is no walltime: Slurm's forms are {_FORMS}")
    part = {name: int(value or 0) for name, value in match.groupdict().items()}
    minutes = part.get("minutes", 0) + part.get("m", 0)
    seconds = part.get("d", 0) * 86400 + part.get("h", 0) * 3600 + minutes * 60 + part.get("s", 0)
    if not 0 < seconds <= _LONGEST:
        raise SpecError(f"{text!r} is no walltime: it must be longer than zero and at most ten years")
    return seconds


def render(seconds: int) -> str:
    """``HH:MM:SS``, or ``D-HH:MM:SS`` from one day on: both forms that Slurm itself prints."""
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    return f"{days}-{h:02}:{m:02}:{s:02}" if days else f"{h:02}:{m:02}:{s:02}"
