"""sbatch: hand over the script of a run, and find out what came of it.

What sbatch prints and exits with is not proof. Sites wrap it: a banner with numbers in it, the number alone, another
language, an exit code of their own after the job is queued; and sbatch itself fails when the controller's answer is
lost, which has taken the job by then. Only one line that is an id, and success, are taken for what they say. In any
other case the queue decides, in which the path of the script and that of its log name the job; and where it does not
answer, nobody knows, so that nothing may be undone.
"""

import contextlib
import itertools
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import msgspec

from bertjob.cluster import process
from bertjob.cluster.scheduler_answers import Started
from bertjob.cluster.slurm import clusters
from bertjob.cluster.slurm.own_jobs import of_run, of_user, on_any_cluster, on_disk
from bertjob.errors import SchedulerError, UncertainError
from bertjob.rundir.directory import RunDir
from bertjob.rundir.submissions import every
from bertjob.rundir.world import SUBMITTED
from bertjob.text import reason

_log = logging.getLogger(__name__)

_TIMEOUT_S = 60
"""sbatch gives up by itself after 9 s when the controller is away; one that hangs is ended."""
_KILL_AFTER_S = 5
_ESTIMATE_S = 20
"""A person waits for it, who wants to see the script."""
_LOOKS = 5
_LOOK_EVERY_S = 2.0
"""How often the queue is searched where the controller may not have come to the request yet."""
_SOON_S = 5.0
"""An sbatch that fails within it was answered, or never got through: Slurm's MessageTimeout is 10 s (slurm.conf)."""
_ID = re.compile(r"([0-9]+)(?:;([\w.-]+))?")
"""What ``sbatch --parsable`` prints (sbatch.c of 19.05 to 26.05)."""
_SENTENCE = re.compile(r"Submitted batch job ([0-9]+)(?: on cluster ([\w.-]+))?")
"""What it prints where a wrapper drops the option."""
_NOT_SENT = re.compile(
    r"sbatch: error: Batch job submission failed: Unable to contact slurm controller \(connect failure\)"
    r"|(sbatch: error: .*\n)*sbatch: fatal: Could not establish a configuration source"
)
"""All that sbatch 22.05 prints where no controller has taken the connection, or it knows of none."""


_ESTIMATE = re.compile(r"sbatch: Job \d+ (to start at .*)")
"""What ``sbatch --test-only`` prints on stderr (sbatch.c of 22.05 to 26.05)."""
_REFUSED = "allocation failure: "
"""And before its reason where the job cannot start, be it that all nodes are down now."""


class _Answer(msgspec.Struct, frozen=True):
    """What sbatch did.

    Attributes:
        code: its exit code; negative for a signal; None: it did not end in time.
        output: its stdout.
        complaint: its stderr.
        seconds: how long it took.
    """

    code: int | None
    output: str
    complaint: str
    seconds: float

    @property
    def failure(self) -> str:
        """What it says of itself, on one line, or how it ended."""
        if self.code is None:
            return f"no answer within {_TIMEOUT_S} s"
        said = process.one_line(self.complaint) or process.one_line(self.output)
        if self.code < 0:
            return said or f"ended by signal {-self.code}"
        return said or (f"refused without a word, exit code {self.code}" if self.code else "said nothing")

    @property
    def ids(self) -> list[Started]:
        """Every line that may be the id of the job, in order."""
        lines = (line.strip() for line in self.output.splitlines())
        found = (_ID.fullmatch(line) or _SENTENCE.fullmatch(line) for line in lines)
        return [Started(match[1], cluster=match[2] or "") for match in found if match]

    @property
    def rest(self) -> list[str]:
        """All other lines of its stdout: what the site has to say."""
        lines = (line.strip() for line in self.output.splitlines())
        return [line for line in lines if line and not _ID.fullmatch(line) and not _SENTENCE.fullmatch(line)]

    @property
    def plain(self) -> bool:
        """It succeeded, and printed one line."""
        return self.code == 0 and len(self.output.split("\n")) <= len(("id", "")) and len(self.ids) == 1

    @property
    def prompt(self) -> bool:
        """It ended by itself, and not because it waited for an answer in vain."""
        return self.code is not None and self.code > 0 and self.seconds < _SOON_S


def submit(run_dir: RunDir) -> Started:
    """Hand the script of a run to sbatch, as a job of submitit's.

    Raises:
        SchedulerError: sbatch refused, in its own words, and the queue has no job of the script; or it is not here.
        UncertainError: the job may be queued, and squeue does not tell.
    """
    for command in ("sbatch", "srun"):  # submitit wants both
        if shutil.which(command) is None:
            raise SchedulerError(f"there is no command {command} here: submit from a login node of the cluster")
    executor = _executor(run_dir)
    executor._submit_command("")
    started: Started = executor.started
    return replace(started, cluster=started.cluster.lower() or clusters.home())


def _begun(run_dir: RunDir, began: float, earlier: Collection[str]) -> Started | None:
    """The job that has begun in the run directory by now; which cluster it is on, its script has written down."""
    new = on_disk(run_dir) - {*earlier}
    if not new:
        return None
    recorded = [said for said in every(run_dir) if said.job_id in new]
    if recorded:
        return Started(recorded[-1].job_id, cluster=recorded[-1].cluster)
    return on_any_cluster(run_dir, began, earlier) or Started(max(new, key=int))


def estimate(script: str) -> str:
    """What ``sbatch --test-only`` says of a script: when and where it is to start, or why it cannot.

    It is asked with the head of the script alone, in which the option stands too: a wrapper that drops the words of its
    command line queues nothing, and submits nothing that does anything.

    Returns:
        A line; empty where sbatch is not here, or a wrapper says something else.
    """
    head = itertools.takewhile(lambda line: not line or line.startswith("#"), script.splitlines())
    with tempfile.NamedTemporaryFile("w", prefix="bertjob-test-", suffix=".sbatch", errors="surrogateescape") as file:
        file.write("\n".join([*head, "#SBATCH --test-only", "exit 0", ""]))
        file.flush()
        said = process.ask("sbatch", "--test-only", file.name, timeout=_ESTIMATE_S)
    if found := _ESTIMATE.search(said.complaint):
        return f"sbatch --test-only: {found[1]}"
    if said.error and not said.absent:
        return f"sbatch --test-only: {said.error.removeprefix(_REFUSED)}"
    return ""


def _executor(run_dir: RunDir) -> Any:
    from submitit.slurm.slurm import SlurmExecutor, SlurmJob

    class ScriptExecutor(SlurmExecutor):  # type: ignore[misc]  # submitit is imported late, untyped
        """Submits the run's own script in place of one that submitit makes, and finds out itself what came of it.

        submitit takes the first number behind "job " for the id, an exit code for a refusal, and then writes files of
        its own, which a full disk prevents when the job is queued.
        """

        started: Started

        def _submit_command(self, command: str) -> Any:
            self.started = _hand_over(run_dir)
            return SlurmJob(folder=self.folder, job_id=self.started.job_id, tasks=[0])

    return ScriptExecutor(run_dir.logs)


def _hand_over(run_dir: RunDir) -> Started:
    earlier, began = on_disk(run_dir), time.time()
    answer = _sbatch(run_dir.script)
    if answer.complaint:  # otherwise it is the error, if there is one
        _show(answer.rest)
    if answer.plain:
        started = answer.ids[0]
    elif _NOT_SENT.fullmatch(answer.complaint.strip()) and answer.code and not answer.output.strip():
        raise SchedulerError(f"sbatch: {answer.failure}")
    else:
        started = _decide(run_dir, answer, earlier, began)
    _show([*(() if answer.complaint else answer.rest), *answer.complaint.splitlines()])
    return started


def _show(lines: Sequence[str]) -> None:
    for line in lines:
        if line.strip():
            _log.warning("sbatch: %s", line.removeprefix("sbatch: "))


def _sbatch(script: Path) -> _Answer:
    """Call sbatch, in a clean environment.

    Its session is its own, since Ctrl-C must not end it between the queue and its id. Its output goes into files,
    since what a wrapper leaves running would hold pipes open.

    Raises:
        SchedulerError: it cannot be started.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            output, complaint = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(2))
            running = subprocess.Popen(
                ["sbatch", "--parsable", str(script)],
                env={**process.clean_environment(os.environ), SUBMITTED: str(script.parent)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=complaint,
                start_new_session=True,
            )
        except OSError as error:
            raise SchedulerError(f"sbatch cannot be started: {reason(error)}") from None
        code = _end(running)
        return _Answer(code, _text(output), _text(complaint), time.monotonic() - began)


def _end(running: "subprocess.Popen[bytes]") -> int | None:
    """Wait for the exit code; None where it had to be ended, with all that it has started."""
    for patience, number in ((_TIMEOUT_S, signal.SIGTERM), (_KILL_AFTER_S, signal.SIGKILL)):
        try:
            code = running.wait(patience)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, number)
        else:
            return code if number is signal.SIGTERM else None
    running.wait()
    return None


def _text(file: IO[bytes]) -> str:
    try:
        file.seek(0)
        return file.read().decode(errors="replace")
    except OSError:  # then the queue decides
        return ""


def _decide(run_dir: RunDir, answer: _Answer, earlier: Collection[str], began: float) -> Started:
    """What came of a call whose answer is not plain.

    Args:
        run_dir: whose script it was given.
        answer: what it said.
        earlier: ids of the jobs that had left something in the run directory before.
        began: seconds since the epoch when it was called.

    Raises:
        SchedulerError: the queue has no job of the script, and none has left anything in the run directory.
        UncertainError: the queue does not tell, or has a job that may be the script's.
    """
    candidate = answer.ids[-1] if answer.ids else None
    certain = answer.code == 0 and len({one.job_id for one in answer.ids}) == 1
    for look in range(1 if answer.prompt and not candidate else _LOOKS):
        if look:
            time.sleep(_LOOK_EVERY_S)
        error, jobs = of_user(run_dir, began)
        if found := of_run(run_dir, jobs, earlier):
            cluster = candidate.cluster if candidate is not None and candidate.job_id == found else ""
            return Started(found, cluster=cluster)
        if (begun := _begun(run_dir, began, earlier)) is not None:
            return begun
        if candidate is not None and answer.code == 0 and (candidate.job_id in jobs or (error and certain)):
            return candidate
    if (elsewhere := on_any_cluster(run_dir, began, earlier)) is not None:
        return elsewhere
    said = f"sbatch: {answer.failure}"
    if not error and candidate is None:
        raise SchedulerError(said if answer.prompt else f"{said}, and squeue has no job of it")
    if candidate is not None:
        said = f"sbatch: exit code {answer.code}, though it names job {candidate.job_id}"
    asked = f"squeue: {error}" if error else "squeue has no job of this script"
    raise UncertainError(
        f"{said}, and {asked}: if squeue shows the job later, it runs in {run_dir.path}, which stays,"
        " and `bertjob status` shows it; otherwise submit again with this --run-dir"
    )
