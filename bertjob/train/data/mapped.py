"""Files that are mapped into memory, and the bus error of one that is cut meanwhile, which names no file by itself.

Reading a page behind the end of a file is a SIGBUS (man 2 mmap). Python runs no handler of its own there, because the
instruction that failed never ends; a C function from ctypes runs at once. Other causes of a SIGBUS, such as a full
/dev/shm, go to the handler before it, which is faulthandler's.
"""

import ctypes
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)
_sizes: dict[Path, int] = {}
_kept: list[Any] = []
"""What the system calls must not be collected."""


def map_array(file: Path) -> Any:
    """The array of an .npy file, mapped read-only.

    Raises:
        OSError, ValueError: there is no such file, or no array in it.
    """
    array = np.load(file, mmap_mode="r")
    note(file)
    return array


def note(file: Path) -> None:
    """Remember how long a file is that is mapped now.

    Raises:
        OSError: it is not there.
    """
    _sizes[file] = file.stat().st_size


def cut_file() -> str:
    """The first mapped file that has become shorter, in words; empty where there is none."""
    for file, size in _sizes.items():
        try:
            now = file.stat().st_size
        except OSError:  # a file without a name keeps its content
            continue
        if now < size:
            return f"{file}: was cut from {size} to {now} bytes while it was in use; make it again"
    return ""


def explain_bus_errors(depart: Callable[[str], object]) -> None:
    """From now on call `depart`, which does not return, with the file whose cut has caused a SIGBUS."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = ctypes.c_int, ctypes.c_void_p

    def handle(number: int) -> None:
        line = cut_file()
        if line:
            depart(line)
        libc.signal(number, former)  # the instruction is tried again, and fails for whoever is next

    handler = _HANDLER(handle)
    former = libc.signal(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    _kept.append(handler)
