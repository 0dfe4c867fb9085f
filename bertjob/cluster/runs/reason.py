"""Why a run ended without success, in one line: from the job's log, its own state and the scheduler.

What killed the launcher or the script is the cause of what ranks report afterwards, so it comes first. Then comes what
the run itself has reported, then what launchers and engines print about a rank or an image, then the words of the
scheduler. Patterns are those of Slurm 22.05, Open MPI 4.1 and torch 2.13, as their logs showed them.
"""

import os
import re
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from bertjob.cluster.resource_limits import died_of
from bertjob.cluster.runs.catalog import Run
from bertjob.cluster.scheduler_answers import JobInfo, JobState
from bertjob.config.job import Launcher
from bertjob.config.registry.launcher_programs import OPEN_MPI_AS_ROOT
from bertjob.config.registry.launchers import LAUNCHERS
from bertjob.config.secret_values import masked_text
from bertjob.launch.engines.failures import complaint, image_failure
from bertjob.rundir import ending
from bertjob.rundir.ending import Ending
from bertjob.rundir.job_log import last_start, left_no_state
from bertjob.rundir.resume import elsewhere
from bertjob.rundir.state import RunState

_LONGEST = 1 << 17
"""Bytes of the log's end that are read; the tracebacks of torchrun's agents take 3 KB a node."""
_PROGRESS = re.compile(r"^(?:step +\d|evaluated |checkpoint |  File |    ).*\n", re.MULTILINE)
"""Lines that report no failure, but make up most of a log."""
_GONE = "gone without a word: killed, or the node failed"
"""How rank 0 reports another rank (train.main); launchers know more."""
_LAUNCHER = re.compile(r"^launcher: ([\w-]+)$", re.MULTILINE)
_RAISED = re.compile(r"RaisedSignal:(\d+)")
"""squeue's reason for a script that a signal has ended, in some versions: ``RaisedSignal:9(Killed)``."""
_NOT_STARTED = 53
"""Slurm's number for a script whose log or working directory cannot be opened; sacct shows ``0:53``."""
_SHOWN = 300
"""Characters of a line of the log that are repeated."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """A line of the log, and what it means.

    Attributes:
        pattern: finds it; matched line by line.
        told: the reason, given the match; empty where this line is not one.
    """

    pattern: re.Pattern[str]
    told: Callable[[re.Match[str]], str]


def reason(run: Run, info: JobInfo, own: RunState | None) -> str:
    """Why it failed; empty where nobody tells.

    Args:
        run: a run that has ended without success.
        info: what its scheduler says of it.
        own: the state that its newest submission wrote, if it wrote one.
    """
    if not run.run_dir.path.is_dir():
        return elsewhere(submitted=run.scheduler.queues)
    log = _read(run)
    if own is not None and left_no_state(log):
        own = None
    log, launcher = _PROGRESS.sub("", last_start(log)), _launcher(run)
    left = ending.read(run.run_dir, run.submission.job_id)
    told = _not_started(run, info) or _script_killed(info) or _why(run, info, own, log, launcher, left)
    limit = died_of(f"{told}\n{log}", left.limits) if left is not None else ""
    return f"{told}; {limit}" if limit else told


def _why(
    run: Run, info: JobInfo, own: RunState | None, log: str, launcher: Launcher | None, left: Ending | None
) -> str:
    error = "" if own is None else own.error
    if error.endswith(_GONE) and (killed := _first(_killed_ranks(launcher), log)).startswith("rank "):
        error = killed
    return (
        _first(_LAUNCHER_KILLED, log)
        or "; ".join(filter(None, (error, _first(_OUT_OF_MEMORY, log))))
        or from_log(log, launcher)
        or _SCHEDULER.get(info.reason, info.reason)
        or _end(run, info, log, left)
    )


def _not_started(run: Run, info: JobInfo) -> str:
    """Slurm could not open the log of a job in the run directory, and has not started its script."""
    by_number = info.signal == _NOT_STARTED or info.reason.startswith(f"RaisedSignal:{_NOT_STARTED}")
    if by_number or (info.reason == "JobLaunchFailure" and not run.run_dir.log(run.submission.job_id).exists()):
        return f"Slurm could not start the script: {_no_log(run)}"
    return ""


def _no_log(run: Run) -> str:
    return f"there is no log: its node does not see {run.path} or cannot write there; use a folder that all nodes share"


def _script_killed(info: JobInfo) -> str:
    raised = _RAISED.match(info.reason)
    number = info.signal or (int(raised[1]) if raised else 0)
    return f"the job's script was killed by {_signal(number)}" if number else ""


def from_log(log: str, launcher: Launcher | None = None) -> str:
    """The reason that one start's log gives; empty where it has none.

    Args:
        log: what the start has printed.
        launcher: of the job.
    """
    told = (
        _first((*_LAUNCHER_KILLED, *_OUT_OF_MEMORY, *_killed_ranks(launcher)), log)
        or image_failure(log)
        or _first(_RANK_SAYS, log)
        or complaint(log)
        or _last(_OWN, log)
        or _last(_ERROR, log)
        or (f"the job's script: {wrong}" if (wrong := _last(_BASH, log)) else "")
    )
    return told[:_SHOWN]


def unheard(log: str) -> str:
    """Which ranks the others have left for, as the first of them said; empty where none did."""
    return _first((_UNHEARD,), log)


def _killed_ranks(launcher: Launcher | None) -> Sequence[_Sign]:
    """Signs of a killed rank; srun's tasks are ranks, or agents of a launcher that start those of a node."""
    if launcher is None or LAUNCHERS[launcher].agent is None:
        return *_RANK_KILLED, _TASK_KILLED
    killed = rf"^srun: error: (\S+): task \d+: {_KILLED}$"
    return *_RANK_KILLED, _sign(killed, lambda match: _killed(f"{launcher}'s agent on {match[1]}", match[2]))


def _read(run: Run) -> str:
    """The end of the job's log; empty where it cannot be read."""
    try:
        with run.run_dir.log(run.submission.job_id).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LONGEST))
            return log.read().decode(errors="replace")
    except OSError:
        return ""


def _launcher(run: Run) -> Launcher | None:
    """The launcher that the resolved job names on a line of its own: to build all of the job takes 20 ms."""
    try:
        found = _LAUNCHER.search(run.run_dir.job.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return cast("Launcher", found[1]) if found else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _first(signs: Iterable[_Sign], log: str) -> str:
    """The reason of the first sign that the log has, in the order of the signs."""
    for sign in signs:
        for match in sign.pattern.finditer(log):
            if told := sign.told(match):
                return told
    return ""


def _sign(pattern: str, told: str | Callable[[re.Match[str]], str]) -> _Sign:
    """A sign; a text may name the pattern's groups, as ``str.format`` has them."""
    said = told if callable(told) else lambda match: told.format(*match.groups(default=""))
    return _Sign(re.compile(pattern, re.MULTILINE), said)


_WORDS = {
    "Killed": "SIGKILL",
    "Terminated": "SIGTERM",
    "Aborted": "SIGABRT",
    "Segmentation fault": "SIGSEGV",
    "CPU time limit exceeded": "SIGXCPU",
    "File size limit exceeded": "SIGXFSZ",
}
"""The words of bash and srun for signals that end a process."""
_KILLED = (
    r"(Killed|Aborted|Segmentation fault|Bus error|Illegal instruction|CPU time limit exceeded"
    r"|File size limit exceeded)(?: \(core dumped\))?"
)


def _killed(name: str, word: str) -> str:
    return f"{name} was killed by {_WORDS.get(word, word)}"


_LAUNCHER_KILLED: Sequence[_Sign] = (
    _sign(  # bash, which tells of a process that it has waited for
        rf"^\S*: line \d+: +\d+ {_KILLED} +(?:\S+=\S* )*(srun|mpirun|mpiexec\S*|flux)\b",
        lambda match: _killed(match[2], match[1]),
    ),
    _sign(r"^srun: error: (Task launch for StepId=\S+ failed on node \S+: .*)", "{0}"),
    _sign(
        r"^ORTE has lost communication with a remote daemon\.\n(?:.*\n){0,3}? +Remote daemon: \S+ on node (\S+)",
        "mpirun has lost its daemon on {0}: it was killed, or the node failed",
    ),
    _sign(r"^ORTE was unable to reliably start one or more daemons", "mpirun cannot start its daemon on every node"),
    _sign(  # Open MPI 4.1's mpirun, and prterun of Open MPI 5
        r"^(mpirun|mpiexec|prterun|prte) has detected an attempt to run as root\.",
        "{0} does not run as root, unless env has " + " and ".join(f"{name}: 1" for name in OPEN_MPI_AS_ROOT.variables),
    ),
)
_OUT_OF_MEMORY: Sequence[_Sign] = (
    _sign(
        r"Detected \d+ oom[_-]kill event",
        "out of memory: the kernel killed a process of the job; ask for more, e.g. by resources.mem",
    ),
)
_RANK_KILLED: Sequence[_Sign] = (
    _sign(
        r"noticed that process rank (\d+) with PID \d+ on node (\S+) exited on signal \d+ \(([\w ]+)\)",
        lambda match: _killed(f"rank {match[1]} ({match[2]})", match[3]),
    ),
    _sign(  # torchrun's summary; -15 is what it sends to the others itself
        r"^ +host +: (\S+)\n +rank +: (\d+) .*\n +exitcode +: -(?!15\b)(\d+) ",
        lambda match: f"rank {match[2]} ({match[1]}) was killed by {_signal(int(match[3]))}",
    ),
    _sign(  # MPICH's hydra, by its source (pm/hydra/mpiexec/pmiserv_cb.c of 4.1): it does not name the rank
        r"^= +PID \d+ RUNNING AT (\S+)\n(?:=.*\n)*YOUR APPLICATION TERMINATED WITH THE EXIT STRING: .*\(signal (\d+)\)",
        lambda match: f"a rank on {match[1]} was killed by {_signal(int(match[2]))}",
    ),
    _sign(  # the script that starts ranks itself; bash adds 128 to the number of a signal
        r"^bertjob: rank (\d+) ended with exit code (\d+)",
        lambda match: (
            f"rank {match[1]} was killed by {_signal(int(match[2]) - 128)}" if 128 < int(match[2]) < 160 else ""
        ),
    ),
)
_TASK_KILLED = _sign(
    rf"^srun: error: (\S+): task (\d+): {_KILLED}$", lambda match: _killed(f"rank {match[2]} ({match[1]})", match[3])
)
_UNHEARD = _sign(r"^(?:rank \d+ \(\S+\): )?warning: (ranks? .* not been heard of for .*)", "{0}")
"""How ranks leave for others that are silent (train.distributed.pulse.lost)."""
_RANK_SAYS: Sequence[_Sign] = (
    _sign(r"^(rank \d+ \(\S+\): (?!warning: ).*)", "{0}"),
    _sign(r"^bertjob: (rank \d+ ended with exit code \d+)", "{0}"),
)
_OWN = re.compile(r"^bertjob: (?!run directory |job \S+ starts |the next start |Slurm has put )(.*)", re.MULTILINE)
"""The script's own lines, but not those that report what is in order."""
_ERROR = re.compile(r"^(?!torch\.distributed\.elastic\.)((?:\w+\.)*\w*(?:Error|Exception): .*)", re.MULTILINE)
"""The last line of a Python traceback. torchrun's own only report that a rank has failed."""
_BASH = re.compile(r"^\S+: (?:\S+: )?(line \d+: (?! *\d+ |`).+)", re.MULTILINE)
"""What bash complains of in a script, but for processes that a signal has ended, and the text of a wrong line."""
_NOISE = re.compile(
    r"^(?:bertjob|srun: |slurmstepd|[-=*]{5}|step +\d|checkpoint |stopped by a signal|evaluated |\s|$)|warning|WARN"
)


def _last(pattern: re.Pattern[str], log: str) -> str:
    found = pattern.findall(log)
    return found[-1] if found else ""


def last_word(log: str) -> str:
    """The last line that reports more than progress, as such; empty where there is none."""
    lines = [line for line in log.splitlines() if not _NOISE.search(line)]
    return f"the log ends with: {lines[-1][:_SHOWN]}" if lines else ""


def _end(run: Run, info: JobInfo, log: str, left: Ending | None) -> str:
    """Where the script ended, and what the log ends with."""
    last = last_word(log)
    if left is None or not left.code:
        if info.state is not JobState.UNKNOWN:
            return last or "its log is empty"
        if not run.run_dir.log(run.submission.job_id).exists():
            return _no_log(run)
        gone = "gone without a word: killed, or its machine went down"
        return f"{gone}; {last}" if last else gone
    where = (
        "" if left.command.startswith(("exit ", "export ")) else f" at or after {masked_text(left.command)[:_SHOWN]!r}"
    )
    return f"the job's script ended with exit code {left.code}{where}{f'; {last}' if last else ''}"


_SCHEDULER = {
    "NonZeroExitCode": "",  # which the state says already
    "JobLaunchFailure": "the scheduler could not start its script, or the script was killed",
}
"""Words of the scheduler that say little, and what they mean."""
