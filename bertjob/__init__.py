"""bertjob: BERT training jobs in containers on HPC clusters, from one command to many nodes."""

from typing import TYPE_CHECKING, Any

from bertjob.version import __version__ as __version__

if TYPE_CHECKING:
    from bertjob.api import Run, load_job, plan, submit

__all__ = ["Run", "load_job", "plan", "submit"]


def __getattr__(name: str) -> Any:
    """Public Python API, loaded lazily: importing bertjob alone stays quick."""
    if name in __all__:
        from bertjob import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
