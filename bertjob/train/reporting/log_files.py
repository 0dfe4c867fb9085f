"""Where a rank's words go: all of them to its own file, those that matter to everybody to the job's log.

The job's log is the stderr that the launcher gave us. Rank 0 tells the story there; other ranks only say what went
wrong, with their name before it. What libraries print on ranks above 0 is the same N times, so it goes to the rank's
file, and so does a traceback.
"""

import faulthandler
import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from bertjob.errors import BertjobError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import JOB_ID, LOCAL_ID, World
from bertjob.text import reason

logger = logging.getLogger("bertjob")
OWN_FILE_ONLY = {"own_file_only": True}
"""Give this as ``extra`` to a log call whose words are not for the job's log."""


@dataclass(frozen=True)
class Logs:
    """The open logs of one rank.

    Attributes:
        who: empty for rank 0, else e.g. ``rank 3 (nid00004)``.
        path: the rank's own file.
    """

    who: str
    path: Path
    _job_log: TextIO

    def flush(self) -> None:
        """Hand everything to the operating system."""
        sys.stdout.flush()
        sys.stderr.flush()
        for handler in logger.handlers:
            handler.flush()


def job_id(env: Mapping[str, str]) -> str:
    """The id under which logs are filed: the scheduler's, or ``local``."""
    return env.get(JOB_ID) or LOCAL_ID


def cluster_name(env: Mapping[str, str]) -> str:
    """The cluster whose scheduler gave that id; empty without one, and where a container engine hides its variable."""
    return env.get("SLURM_CLUSTER_NAME", "") if job_id(env) != LOCAL_ID else ""


def open_logs(run_dir: RunDir, world: World, env: Mapping[str, str]) -> Logs:
    """Open this rank's file and send everything where it belongs.

    Raises:
        BertjobError: the file cannot be written.
    """
    who = f"rank {world.rank} ({socket.gethostname()})" if world.rank else ""
    path = run_dir.log(job_id(env), world.rank)
    try:
        path.parent.mkdir(exist_ok=True)  # the run directory itself must be there
        own = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise BertjobError(f"{path}: the log cannot be written: {reason(error)}") from None
    job_log = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    if world.rank:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(own.fileno(), 1)
        os.dup2(own.fileno(), 2)
    faulthandler.enable(job_log)
    threading.excepthook = _thread_failed
    logging.raiseExceptions = False  # a full disk must not end the training by way of its log
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = [_own_handler(own), _job_handler(job_log, who)]
    return Logs(who, path, job_log)


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    name = failure.thread.name if failure.thread else "a thread"
    error = failure.exc_value
    logger.warning("%s ended with %s: %s", name, failure.exc_type.__name__, error, exc_info=error)


def _own_handler(own: TextIO) -> logging.Handler:
    handler = logging.StreamHandler(own)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


def _job_handler(job_log: TextIO, who: str) -> logging.Handler:
    handler = logging.StreamHandler(job_log)
    handler.setLevel(logging.WARNING if who else logging.INFO)
    handler.addFilter(lambda record: not getattr(record, "own_file_only", False))
    handler.setFormatter(_JobFormatter(who))
    return handler


class _JobFormatter(logging.Formatter):
    """One line a record; the traceback stays in the rank's own file."""

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = f"{who}: " if who else ""

    def format(self, record: logging.LogRecord) -> str:
        warning = "warning: " if record.levelno == logging.WARNING else ""
        return f"{self._who}{warning}{record.getMessage()}"
