"""Tensors from files that torch has pickled, without running what else is in them."""

import argparse
import pickle
import re
from pathlib import Path
from typing import Any, Final

import torch

from bertjob.errors import DataError

_HARMLESS: Final[list[Any]] = [argparse.Namespace]
"""What training scripts keep beside their weights."""
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")


def load(file: Path) -> Any:
    """What the file holds, its tensors on the CPU.

    Raises:
        DataError: it cannot be read, or holds objects that only running its code would make.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = _GLOBAL.search(str(error))
        reason = f"it holds a {foreign[1]}, which is not only data" if foreign else "it is no file of torch"
        raise DataError(f"{file}: its weights cannot be loaded ({reason})") from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise DataError(f"{file}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error
