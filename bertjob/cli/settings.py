"""What ``--set`` says to which job: ``KEY=VALUE`` to all of a chain, ``JOB:KEY=VALUE`` to one of them."""

from collections.abc import Sequence
from typing import NamedTuple

from bertjob.config.load import load_job
from bertjob.errors import SpecError


class Settings(NamedTuple):
    """Settings of one job, as ``key.path=value``.

    Attributes:
        shared: said to all jobs.
        own: said to this one.
    """

    shared: tuple[str, ...]
    own: tuple[str, ...]


def settings_of(settings: Sequence[str], job: str, chain: Sequence[str]) -> Settings:
    """The settings that are for a job.

    Args:
        settings: as they follow ``--set``.
        job: one of the chain, by name or path.
        chain: all jobs of the command line as they were given. A setting calls one so, or as its file does.

    Raises:
        SpecError: a setting is for a job that the chain lacks.
    """
    refuse_strangers(settings, chain)
    parted = [_addressed(setting) for setting in settings]
    shared = tuple(setting for to, setting in parted if to is None)
    return Settings(shared, tuple(setting for to, setting in parted if to is not None and to in _names(job)))


def refuse_strangers(settings: Sequence[str], chain: Sequence[str]) -> None:
    """Refuse a setting for a job that is not there; see `settings_of`.

    Raises:
        SpecError: there is one.
    """
    for setting in settings:
        to, _ = _addressed(setting)
        if to is not None and not any(to in _names(job) for job in chain):
            raise SpecError(f"--set {setting}: there is no job {to!r} here, but {', '.join(chain)}")


def key_of(setting: str) -> str:
    """The dotted key of ``key.path=value``."""
    return setting.partition("=")[0].strip()


def _addressed(setting: str) -> tuple[str | None, str]:
    """The job that a setting names before a colon in front of the key, and the setting without it."""
    words, equals, value = setting.partition("=")
    to, colon, key = words.rpartition(":")
    return (to.strip(), f"{key}{equals}{value}") if colon else (None, setting)


def _names(job: str) -> tuple[str, str]:
    return job, load_job(job).value.name
