"""What a run that failed without a word in its state has left in its log."""

import os

from bertjob.cluster.runs.catalog import Run

_PREFIX = "bertjob: "
_LONGEST = 1 << 14
"""Bytes of the log's end that are looked at."""


def last_words(run: Run) -> str:
    """The last line of bertjob's own in the job's log, such as a node that lacks the engine; empty if there is none."""
    try:
        with run.run_dir.log(run.submission.job_id).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LONGEST))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    own = [line.removeprefix(_PREFIX) for line in lines if line.startswith(_PREFIX)]
    return own[-1] if own else ""
