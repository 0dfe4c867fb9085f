"""The job's log, which all starts of a job append to: the line by which each begins, and the text since the last."""

import re

_STARTED = re.compile(r"^bertjob: job (\S+) starts on \S+ \(start (\d+)\)$", re.MULTILINE)
_STOPPED = re.compile(r"^bertjob: (?:the next start goes on from|Slurm has put the job back) .*$", re.MULTILINE)
_RANK_0 = re.compile(r"^bertjob \S+ on .*, rank 0 of \d+$", re.MULTILINE)
"""The first line of rank 0, which has written its state by then (train.main)."""


def started_by_script(job_id: str, start: str) -> str:
    """Shell that prints the line by which a start begins.

    Args:
        job_id: word with the job's id.
        start: word with the number of the start, from 1.
    """
    return f"""printf 'bertjob: job %s starts on %s (start %s)\\n' {job_id} "$HOSTNAME" {start} >&2"""


def last_start(log: str) -> str:
    """What the newest start has printed; all of it, where nothing tells of an earlier one."""
    begins = [*_STARTED.finditer(log)] or [*_STOPPED.finditer(log)]
    return log[begins[-1].end() :].lstrip("\n") if begins else log


def left_no_state(log: str) -> bool:
    """Whether the newest start is not the job's first and ended before its rank 0: the state is an earlier one's."""
    begins = [*_STARTED.finditer(log)]
    return bool(begins) and int(begins[-1][2]) > 1 and _RANK_0.search(log, begins[-1].end()) is None
