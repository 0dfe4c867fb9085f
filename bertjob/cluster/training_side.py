"""Modules of the training, run by this Python in a process of its own: this side has no torch and no numpy."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator

from bertjob.errors import DataError


def lines(module: str, *arguments: str) -> Iterator[str]:
    """The lines that ``python -m MODULE ARGUMENTS`` prints, as they come; it has our standard input.

    Raises:
        DataError: it failed, in its own last line; or the training's packages are not installed here.
    """
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryFile() as complaint:  # a pipe that nobody reads meanwhile might fill up
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaint, text=True) as process:
            assert process.stdout is not None
            yield from process.stdout
        if process.returncode:
            complaint.seek(0)
            raise _error(complaint.read().decode(errors="replace"), process.returncode)


def _error(complaint: str, code: int) -> DataError:
    last = (complaint.strip().splitlines() or [f"it ended with exit code {code}"])[-1]
    if "No module named" in last:
        return DataError(f"{last.split(': ')[-1]} here: pip install 'bertjob[train]'")
    return DataError(last)
