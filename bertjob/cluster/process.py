"""Run a command of this machine: an environment without what an enclosing job left, an answer whatever happens."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bertjob.launch.schedulers import SCHEDULERS
from bertjob.text import reason

TIMEOUT_S = 5.0
"""What answers questions about itself does so in milliseconds; what takes longer hangs."""

_SPEAKERS = frozenset({"sbatch", "squeue", "sacct", "scancel", "slurm_load_jobs error"})

Process = subprocess.Popen[str]


class Reply(msgspec.Struct, frozen=True):
    """What a command said.

    Attributes:
        output: its stdout.
        complaint: its stderr.
        error: why it gave no answer, on one line; empty when it did.
        absent: there is no such command.
    """

    output: str = ""
    complaint: str = ""
    error: str = ""
    absent: bool = False

    @property
    def text(self) -> str:
        """All it said: programs differ in where they print a version or a list."""
        return f"{self.output}\n{self.complaint}"


def ask(*command: str, timeout: float = TIMEOUT_S, environment: Mapping[str, str] | None = None) -> Reply:
    """Ask once. Never raises: a command that is missing, fails or hangs is a line in the reply.

    Args:
        command: its words.
        timeout: seconds until it is ended.
        environment: its variables (default: this process's). Those of an enclosing job are left out, since they would
            change what the commands of schedulers and MPI say.
    """
    variables = clean_environment(os.environ if environment is None else environment)
    return finish(start(command, variables), timeout)


def start(command: Sequence[str], environment: Mapping[str, str], *, watched: bool = False) -> Process | Reply:
    """A command at work, or the reply that says why it is not.

    Args:
        command: its words.
        environment: its variables.
        watched: somebody reads along: its stderr goes where its stdout does, and the terminal's Ctrl-C reaches it.
    """
    try:
        return subprocess.Popen(
            command,
            env=environment,
            executable=shutil.which(command[0], path=environment.get("PATH")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if watched else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=not watched,
        )
    except FileNotFoundError:
        return Reply(error=f"there is no command {command[0]} on this machine", absent=True)
    except OSError as error:
        return Reply(error=f"{command[0]} cannot be started: {reason(error)}")


def finish(started: Process | Reply, timeout: float) -> Reply:
    """What a started command says until its end; after `timeout` seconds it is ended, with all that it has started."""
    if isinstance(started, Reply):
        return started
    try:
        output, complaint = started.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)  # children may hold the pipes, too
        started.communicate()
        return Reply(error=f"no answer within {timeout:.3g} s")
    failed = started.returncode != 0
    return Reply(output, complaint, (one_line(complaint) or f"exit code {started.returncode}") if failed else "")


@contextlib.contextmanager
def deferred_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C, TERM and HUP wait for the end: what is being done is done, or not, and known.

    Raises:
        KeyboardInterrupt: at the end, if one came meanwhile.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # Python handles signals there only
        yield
        return
    waiting = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in waiting if signal.getsignal(number) is not signal.SIG_IGN]  # nohup, or &
    former = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if number in came:
            signal.raise_signal(number)
    if came:
        raise KeyboardInterrupt


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would change the meaning of a scheduler's commands."""
    return {name: value for name, value in environment.items() if not leftover(name)}


def leftover(name: str) -> bool:
    """Whether an environment variable belongs to an enclosing job, or changes what a scheduler's commands do."""
    return any(scheduler.leftover(name) for scheduler in SCHEDULERS.values())


def one_line(output: str) -> str:
    """What a command complained about, on one line and without the ``sbatch: error:`` before each part."""
    parts: list[str] = []
    for line in output.splitlines():
        head, _, rest = line.strip().partition(": ")
        words = rest if head in _SPEAKERS else line.strip()
        words = words.removeprefix("error: ").removeprefix("fatal: ")
        if words and words not in parts:
            parts.append(words)
    return "; ".join(parts)
