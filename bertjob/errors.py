"""The error tree. The command line prints any of these as one line and exits with its code.

    BertjobError            1  the job failed
    ├── SpecError           2  a job, site or option is wrong: says file, line, key and what would be right
    ├── PreflightError      3  the job is well formed but would not work here: says what and the remedy
    ├── SchedulerError      4  the scheduler refused, or does not answer
    │   └── UncertainError  4  it may have taken the job all the same
    ├── PendingError        5  the job did not start in the time that it was given, and was cancelled
    ├── DataError           1  a data or model file is missing, broken or not what it claims to be
    ├── WorldError          1  the ranks that started are not the ranks that were planned
    ├── CheckpointError     1  a checkpoint cannot be written or read
    └── LeaseError          1  another start has taken the run directory over, or it was moved or removed

The codes are the field's: 0 done, 1 failed, 2 usage, 3 refused beforehand, 4 scheduler, 5 still pending; and 85 from
training means "checkpoint written, requeue me".
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

REQUEUE_EXIT_CODE = 85
"""What training exits with after a signal and a complete checkpoint: run the same script again to go on."""


class BertjobError(Exception):
    """Base of all errors a user may see; ``str()`` is one readable line."""

    exit_code: ClassVar[int] = 1


class SpecError(BertjobError):
    """A job, site or option is not well formed."""

    exit_code = 2


class PreflightError(BertjobError):
    """A check before submission refuses the job."""

    exit_code = 3


class SchedulerError(BertjobError):
    """The scheduler refused the request, or cannot be reached."""

    exit_code = 4


class UncertainError(SchedulerError):
    """The scheduler did not answer, and may have taken the job all the same: nothing of it may be removed."""


class PendingError(BertjobError):
    """A job did not start in the time that it was given, and was taken out of the queue."""

    exit_code = 5


class DataError(BertjobError):
    """A data or model file is missing, broken or not what it claims to be."""


class WorldError(BertjobError):
    """The ranks that started are not the ranks that were planned."""


class CheckpointError(BertjobError):
    """A checkpoint cannot be written, or none can be read."""


class LeaseError(BertjobError):
    """Another start has taken the run directory over, or somebody has moved or removed it."""


@contextmanager
def of_job(name: str | None) -> Iterator[None]:
    """Put the name of a job before the line of an error, where there are several jobs; None: there is one."""
    try:
        yield
    except BertjobError as error:
        if name is None:
            raise
        raise type(error)(f"job {name}: {error}") from error
