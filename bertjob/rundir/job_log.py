"""The job's log, which all starts of a job append to: the line by which each begins, and the text since the last.

On a full disk the log takes no line that says so. So a file beside it holds some room from the beginning, and is
removed before a start reports its failure. That works on tmpfs, ext4 and XFS, and against quotas in bytes, as those of
Lustre and GPFS, whose limit counts the file as well. It cannot help where another process takes the room first, where
a removed file stays in a snapshot, as on Btrfs and ZFS, or where a quota was lowered below what is used. Blocks that
are allocated behind the log's own end (man 2 fallocate: FALLOC_FL_KEEP_SIZE) would be the log's alone, but NFS and ZFS
do not allocate any, and a long log uses them up. state.json has a reserve of its own.
"""

import contextlib
import os
import re

from bertjob.rundir.directory import RunDir

_STARTED = re.compile(r"^bertjob: job (\S+) starts on \S+ \(start (\d+)\)$", re.MULTILINE)
_STOPPED = re.compile(r"^bertjob: (?:the next start goes on from|Slurm has put the job back) .*$", re.MULTILINE)
_RANK_0 = re.compile(r"^bertjob \S+ on .*, rank 0 of \d+$", re.MULTILINE)
"""The first line of rank 0, which has written its state by then (train.main)."""

_RESERVE = 1 << 16
"""Bytes; file systems give out blocks of up to 32 KiB (GPFS: subblocks), and several processes may write a line."""


def reserve_room(run_dir: RunDir) -> None:
    """Hold room for a line in the log, as much as there is; nothing where it cannot be written."""
    with contextlib.suppress(OSError):
        if run_dir.reserve.exists():
            return
        with run_dir.reserve.open("xb") as file:
            file.write(os.urandom(_RESERVE))  # which file systems that compress cannot make smaller


def release_room(run_dir: RunDir) -> None:
    """Give the log the room that is held for it: a failure is about to be reported."""
    with contextlib.suppress(OSError):
        run_dir.reserve.unlink()


def refused_by_script(folder: str, reserve: str) -> str:
    """Shell with a function that ends the script because a file cannot be written, given what a program says of it.

    Args:
        folder: word that names the run directory.
        reserve: word with the path of the reserve.
    """
    return f"""\
unwritable() {{
  local why=${{1##*: }}
  case $why in
    'No space left on device') why='the disk is full; make room and start again' ;;
    'Disk quota exceeded') why='the disk quota is used up; make room and start again' ;;
  esac
  rm -f {reserve} # so that the log has room for this line
  echo "bertjob: {folder}: cannot be written: $why" >&2
  exit 1
}}"""


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
