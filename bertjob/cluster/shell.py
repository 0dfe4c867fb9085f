"""Start a shell and hand the terminal to it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from bertjob.errors import SchedulerError
from bertjob.launch.shell import Shell, script


def run_shell(shell: Shell) -> int:
    """Run a shell's script in the foreground until it ends.

    Returns:
        Its exit code; 128 + the signal's number when one has ended it.

    Raises:
        SchedulerError: the site has Slurm, and its commands are not here.
    """
    wanted = "srun" if "SLURM_JOB_ID" in os.environ else "salloc"
    if shell.site.scheduler == "slurm" and shutil.which(wanted) is None:
        raise SchedulerError(f"there is no command {wanted} here: go to a login node of the cluster, or --site local")
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
