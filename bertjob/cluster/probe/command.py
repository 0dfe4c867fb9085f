"""One question to a command: a short timeout, the environment of a fresh shell, an answer whatever happens."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping

import msgspec

from bertjob.cluster import slurm

TIMEOUT_S = 5.0
"""What answers questions about itself does so in milliseconds; what takes longer hangs."""


class Reply(msgspec.Struct, frozen=True):
    """What a command said.

    Attributes:
        output: its stdout.
        complaint: its stderr.
        error: why it gave no answer, on one line; empty when it did.
    """

    output: str = ""
    complaint: str = ""
    error: str = ""

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
            change what Slurm's and MPI's commands say.
    """
    variables = slurm.clean_environment(os.environ if environment is None else environment)
    try:
        process = subprocess.Popen(
            command,
            env=variables,
            executable=shutil.which(command[0], path=variables.get("PATH")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        return Reply(error=f"there is no command {command[0]}")
    except OSError as error:
        return Reply(error=f"{command[0]} cannot be started: {error.strerror}")
    try:
        output, complaint = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # children may hold the pipes, too
        process.communicate()
        return Reply(error=f"{command[0]} gives no answer within {timeout:.0f} s")
    failed = process.returncode != 0
    return Reply(output, complaint, (slurm.one_line(complaint) or f"exit code {process.returncode}") if failed else "")
