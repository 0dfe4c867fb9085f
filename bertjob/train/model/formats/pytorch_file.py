"""Weights from a checkpoint of DeepSpeed's engine or any state dict that torch saved, without running its pickles."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from bertjob.errors import DataError
from bertjob.formats.pretrained import PARTS
from bertjob.text import first_line
from bertjob.train.model.networks import FAMILIES

_HARMLESS: Final[list[Any]] = [argparse.Namespace]
"""What training scripts keep beside their weights."""
_GLOBAL: Final = re.compile(r"GLOBAL ([\w.]+)")
_MODULES: Final = ("module", "model_state_dict", "model", "state_dict")
"""Where a file has the state dict: the engine's own name, that of its first version, and what other people write."""
_WORDS: Final = "embeddings.word_embeddings.weight"
_ROOTS: Final = tuple(family.prefix for family in FAMILIES.values())


def unpickle(file: Path) -> Any:
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
    except (OSError, RuntimeError) as error:
        raise DataError(f"{file}: its weights cannot be loaded ({first_line(error)})") from error
    except Exception as error:  # the reader of torch 2.13 takes broken pickles for good ones until something gives way
        raise DataError(f"{file}: its weights cannot be loaded (it is no file of torch)") from error


def load(file: Path) -> Mapping[str, Tensor]:
    """The weights, float32, by names that begin with ``bert``, ``roberta``, ``cls``, or ``embeddings`` where none does.

    Raises:
        DataError: it cannot be read, holds no weights of a BERT, or but a part of them.
    """
    if file.name == PARTS:
        raise DataError(
            f"{file}: ZeRO 3 has cut these weights into parts: give the checkpoint's model/ if bertjob wrote it, or"
            " what DeepSpeed's zero_to_fp32.py makes of it"
        )
    state = _state(unpickle(file))
    words = next((name for name in state if name.endswith(_WORDS)), None)
    if words is None:
        raise DataError(f"{file}: holds no {_WORDS}, so its weights are not those of a BERT")
    prefix = _prefix(words)
    return {name.removeprefix(prefix): tensor.float() for name, tensor in state.items()}


def _state(content: Any) -> dict[str, Tensor]:
    """The innermost mapping of names to tensors."""
    while isinstance(content, Mapping) and (inner := next((key for key in _MODULES if key in content), None)):
        content = content[inner]
    found = content if isinstance(content, Mapping) else {}
    return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _prefix(words: str) -> str:
    """What a back end has put before all names, from that of the word embeddings: ``module.bert.embe…``."""
    before = words.removesuffix(_WORDS).split(".")[:-1]
    kept = 1 if before and before[-1] in _ROOTS else 0
    return "".join(f"{part}." for part in before[: len(before) - kept])
