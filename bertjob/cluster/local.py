"""Run a plan's script here, in the foreground: the same script, without a scheduler; or a shell."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import msgspec

from bertjob.cluster import limit_checks, process_group
from bertjob.cluster.claim import check_over
from bertjob.cluster.copies import refuse_copies
from bertjob.cluster.images import engine
from bertjob.cluster.preflight import check, check_continues
from bertjob.cluster.runs import catalog, create
from bertjob.cluster.runs.logs import Tail
from bertjob.cluster.runs.outcome import own_state
from bertjob.cluster.runs.reason import from_log, last_word, unheard
from bertjob.errors import REQUEUE_EXIT_CODE, BertjobError, LeaseError, PreflightError, SchedulerError, SpecError
from bertjob.launch.checks import refuse_here
from bertjob.launch.plan import Plan
from bertjob.launch.schedulers import SCHEDULERS
from bertjob.launch.schedulers.no_scheduler import JOB_ID
from bertjob.launch.shell import Shell, script
from bertjob.rundir import lease
from bertjob.rundir.directory import RunDir
from bertjob.rundir.held_run import HeldRun
from bertjob.rundir.lease import Holder
from bertjob.rundir.state import ENDED, Phase, RunState, read_state, write_state

_log = logging.getLogger(__name__)
_ERRORS: Mapping[int, type[BertjobError]] = {error.exit_code: error for error in (PreflightError, SpecError)}
_POLL_S = 0.1
_FROM_PERSON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_ANNOUNCED = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT, signal.SIGALRM, signal.SIGXCPU)
"""What a scheduler's --signal may be, or the CPU time limit of a shell: the end is near."""
_NERVOUS_S = 1.0
"""Within it a second interrupt is taken for the same one: people press twice when nothing seems to happen."""
_STOPPING = "stopping after this step, with a checkpoint; another Ctrl-C ends at once, without one"


def run_here(
    plan: Plan,
    on_text: Callable[[str], object] = lambda text: None,
    on_notice: Callable[[str], object] = lambda line: None,
) -> int:
    """Run a job on this machine until it ends; a run directory that exists is continued.

    The first interrupt or TERM asks the job to write a checkpoint and stop, a later one kills it. USR1, USR2 and QUIT,
    by which schedulers announce the end, ask as well, and kill nothing however often they come.

    Args:
        plan: what to run, with its run directory.
        on_text: is given the job's output as it comes; all of it is in logs/local.out as well.
        on_notice: is told that an interrupt has been heard.

    Returns:
        The script's exit code; 85 (errors.REQUEUE_EXIT_CODE) when the same run directory can go on from a checkpoint.

    Raises:
        PreflightError: the site has a scheduler, a file is missing, or the run directory cannot be made,
            its job is not over or is another one.
        BertjobError: the training refused the job before it began, in one line; nothing is left of the run.
        LeaseError: somebody moved or removed the run directory meanwhile.
    """
    run_dir = check_start(plan)
    with _Interrupts() as interrupts:
        claim, undoing = create.make(run_dir, create.files(plan, run_dir, engine.digest_of(plan)), JOB_ID)
        with undoing:
            held = HeldRun(run_dir)
            log = held.there.log(JOB_ID)
            before = log.stat().st_size if log.exists() else 0
            tail = Tail(log, before)
            started = process_group.submit(run_dir)
            undo = undoing.pop_all()  # from here on by a refusal alone: other errors are ours, and the job is at work
        process = started.process
        assert process is not None
        interrupts.forward_to(process.pid)
        run = catalog.record(
            run_dir,
            job_id=started.job_id,
            site=plan.site.name,
            scheduler=plan.site.scheduler,
            pid=process.pid,
        )
        try:
            while process.poll() is None:
                on_text(tail.read())
                if line := interrupts.news():
                    on_notice(line)
                time.sleep(_POLL_S)
        except BaseException:  # nobody reads any more, as behind `| head`: no job goes on that nobody knows of
            process_group.stop(process.pid)
            raise
        process_group.end(process.pid)
        on_text(tail.read())
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        if code == REQUEUE_EXIT_CODE:  # rank 0 may have been killed, as when it was stopped and others left for that
            _check_lease(held, claim)
            _record_end(run, held, code, unheard(Tail(log, before).read()))
        elif code:
            _check_lease(held, claim)
            if refusal := _refusal(run, held):
                undo.close()
                if not run_dir.path.exists():
                    catalog.forget(run.path)
                raise refusal
            _record_end(run, held, code, _cause(process.returncode, interrupts, Tail(log, before)))
        with contextlib.suppress(OSError):  # then others see that our process is gone
            lease.end(held.there, claim)
    _check_place(held)
    return code


def _check_lease(held: HeldRun, claim: Holder) -> None:
    """The state is that of the run that was started here.

    Raises:
        PreflightError: another one has begun in the same run directory, before the ranks of this one did.
    """
    with contextlib.suppress(OSError):
        found = lease.read(held.there)
        if found is not None and not lease.belongs(found, claim):
            raise PreflightError(f"{held.run_dir.path}: {found} has begun there meanwhile")


def _check_place(held: HeldRun) -> None:
    """The run directory is where it was.

    Raises:
        LeaseError: somebody has moved or removed it, in the words of the training where it has left some.
    """
    if what := held.displaced():
        said = read_state(held.there.state)
        path = held.run_dir.path
        raise LeaseError((said.error if said else "") or f"the run directory {path} {what} while it was in use")


def check_start(plan: Plan) -> RunDir:
    """All that is checked before a job is started here; its run directory. Of limits of this shell a line warns.

    Raises:
        PreflightError: as for `run_here`.
    """
    refuse_copies(submits=False)
    refuse_here(plan.site)
    check(plan)
    run_dir = create.of(plan)
    check_over(run_dir)
    check_continues(plan, run_dir)
    for problem in limit_checks.problems(plan):
        _log.warning("warning: %s", problem)
    return run_dir


def _refusal(run: catalog.Run, held: HeldRun) -> BertjobError | None:
    """In which words the training refused the job before it began, if it did."""
    said = own_state(run, read_state(held.there.state))
    if said is None or not said.refused:
        return None
    return _ERRORS.get(said.exit_code or 1, BertjobError)(said.error)


def _cause(code: int, interrupts: "_Interrupts", log: Tail) -> str:
    """Why the job failed, where its training could not report it.

    Args:
        code: of the script's process; negative for a signal.
        interrupts: of this start.
        log: what this start has printed.
    """
    if interrupts.killed:
        return "ended at once by a second interrupt"
    said = log.read()
    if told := from_log(said):
        return told
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return "killed by SIGKILL, often for want of memory; see the log"
    return f"exit code {code if code >= 0 else 128 - code}; {last_word(said) or 'see the log'}"


def _record_end(run: catalog.Run, held: HeldRun, code: int, cause: str) -> None:
    """Say in the state how the run ended, where its training was killed, or never began, and could not say so."""
    former = read_state(held.there.state)
    own = own_state(run, former)
    if own is not None and own.phase in ENDED:
        return
    phase: Phase = "checkpointed" if code == REQUEUE_EXIT_CODE else "failed"
    ended = msgspec.structs.replace(
        former or RunState(phase=phase, time=0.0),
        phase=phase,
        time=time.time(),
        job_id=JOB_ID,
        host=socket.gethostname(),
        pid=run.submission.pid,
        exit_code=code,
        error=cause,
    )
    with contextlib.suppress(OSError):  # the exit code is the answer, the state is for those who look later
        write_state(held.there.state, ended)


class _Interrupts:
    """While it is in force, interrupts are for the job: the first asks it to stop, a later one kills it."""

    def __init__(self) -> None:
        self._leader: int | None = None
        self._asked = False
        self._first: float | None = None
        self._told = False
        self._former: dict[int, Any] = {}
        self.killed = False

    def __enter__(self) -> "_Interrupts":
        if threading.current_thread() is threading.main_thread():  # Python handles signals there only
            for number in (*_FROM_PERSON, *_ANNOUNCED):
                self._former[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def forward_to(self, leader: int) -> None:
        """Name the job's process; what came before it started is handed on now."""
        self._leader = leader
        if self._asked:
            process_group.stop(leader)

    def news(self) -> str:
        """A line on the first interrupt, once."""
        if not self._asked or self._told:
            return ""
        self._told = True
        return _STOPPING

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._asked:
            self._asked = True
            if self._leader is not None:
                process_group.stop(self._leader)
        if number not in _FROM_PERSON:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > _NERVOUS_S and self._leader is not None:
            self.killed = True
            process_group.kill(self._leader)


def run_shell(shell: Shell) -> int:
    """Run a shell's script in the foreground until it ends.

    Returns:
        Its exit code; 128 + the signal's number when one has ended it.

    Raises:
        SchedulerError: the commands of the site's scheduler are not here.
    """
    command = SCHEDULERS[shell.site.scheduler].shell_command(os.environ)
    if command and shutil.which(command) is None:
        raise SchedulerError(f"there is no command {command} here: go to a login node of the cluster, or --site local")
    with tempfile.NamedTemporaryFile("w", prefix="bertjob-shell-", suffix=".sh") as file, _interrupts_are_the_shells():
        file.write(script(shell))
        file.flush()
        bash = ["bash", "-l"] if shell.site.login_shell else ["bash"]
        code = subprocess.run([*bash, file.name], check=False).returncode
    return code if code >= 0 else 128 - code


@contextmanager
def _interrupts_are_the_shells() -> Iterator[None]:
    """Ctrl-C reaches all of the terminal's foreground; the shell decides what it means."""
    former = signal.signal(signal.SIGINT, lambda *_: None)  # a handler, because a program would inherit SIG_IGN
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
