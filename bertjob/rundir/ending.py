"""logs/<job id>.exit: how the script of a job ended, which Slurm forgets where it keeps no accounts.

Its first line is ``exit code 3: module load nope``, the command at which the script ended. Behind it are the resource
limits of the script, as Linux shows them in /proc/PID/limits (proc(5)); its ranks have the same.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from bertjob.rundir.directory import RunDir

_FIRST = re.compile(r"exit code (\d+): (.*)")
_LIMIT = re.compile(r"Max ([a-z ]+?) {2,}(\d+) +(\d+|unlimited) ")
_LONGEST = 1 << 14
"""Bytes that are read; the command has one line."""


Bounds = tuple[int, int | None]


class Ending(msgspec.Struct, frozen=True):
    """How a start of a job ended.

    Attributes:
        code: exit code of the script. 0 may also stand for a signal that has ended the script: bash runs the trap with
            the code of the command before.
        command: the command at which it ended, as the script has it, or the one before: of a subshell and of a syntax
            error bash does not tell.
        limits: soft and hard limits of its processes by their names in /proc/PID/limits, e.g. ``cpu time``; in seconds,
            bytes or numbers. Those without a soft limit are left out; a hard one is None where there is none.
    """

    code: int
    command: str = ""
    limits: Mapping[str, Bounds] = {}


def left_by_script(run: str, job_id: str, *, private: bool, otherwise: Sequence[str] = ()) -> list[str]:
    """A function `ended` of the shell, which leaves the file as long as something can be left.

    It is for the trap on EXIT, and takes the exit code.

    Args:
        run: word with the run directory.
        job_id: word with the job's id.
        private: only its owner may read the file.
        otherwise: lines for a script that ends before it has made its run directory `$RUN`.
    """
    return [
        "# Whatever ends this script, its exit code, the command and the resource limits stay in the run directory.",
        f"ending={run}/logs/{job_id.strip(chr(34))}.exit",
        'rm -f "$ending" # of an earlier start',
        "# shellcheck disable=SC2329 # the trap calls it",
        "ended() {",
        "  local code=$1 command=${BASH_COMMAND%%$'\\n'*}",
        "  {",
        *(f"    {line}" for line in otherwise),
        *(["    umask 077"] if private else []),
        """    printf 'exit code %s: %s\\n%s\\n' "$code" "$command" "$(< "/proc/$$/limits")" > "$ending\"""",
        "  } 2> /dev/null || true",
        "}",
    ]


def read(run_dir: RunDir, job_id: str) -> Ending | None:
    """How the newest start of a job ended; None where it left nothing: it runs, or it was killed."""
    try:
        with run_dir.ending(job_id).open("rb") as file:
            text = file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return None
    first, _, rest = text.partition("\n")
    if (said := _FIRST.fullmatch(first)) is None:
        return None
    found = _LIMIT.findall(rest)
    limits = {name: (int(soft), int(hard) if hard.isdecimal() else None) for name, soft, hard in found}
    return Ending(int(said[1]), said[2], limits)
