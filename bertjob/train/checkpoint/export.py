"""Writes that fail on all ranks or on none; the model as a folder in Hugging Face layout.

The folder holds config.json, model.safetensors and the tokenizer's files.
"""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from bertjob.errors import CheckpointError
from bertjob.formats.pretrained import FURTHER
from bertjob.rundir import atomic
from bertjob.text import reason
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.model.kernel.weights import to_transformers
from bertjob.train.model.networks import FAMILIES


def write_together(ranks: Ranks, write: Callable[[], object]) -> None:
    """Let every rank write its part; called by all ranks.

    Raises:
        CheckpointError: on all ranks, when one could not write; says which and why.
    """
    trouble = ""
    try:
        write()
    except (OSError, SafetensorError, CheckpointError) as error:
        trouble = _in_words(error)
    (failed,) = ranks.any(bool(trouble))
    if failed:
        troubles = dict.fromkeys(filter(None, ranks.gather(trouble, str)))
        raise CheckpointError("; ".join(troubles))


def write_model(
    folder: Path, model: nn.Module, weights: Mapping[str, Tensor], save_tokenizer: Callable[[str], object]
) -> None:
    """Write a model that `from_pretrained` of its own class loads with no key missing or left over.

    Args:
        folder: is made.
        model: a transformers model, or a subclass that names one as its `stock`; only class and config are read, for a
            back end may have emptied or halved it.
        weights: its whole state dict, float32; layers of DeepSpeed's kernel are written as transformers' own.
        save_tokenizer: writes the tokenizer's files into a folder.

    Raises:
        OSError: a file cannot be written; safetensors raises its own SafetensorError.
    """
    pretrained: Any = model
    with torch.device("meta"):
        shell: Any = getattr(pretrained, "stock", type(pretrained))(copy.deepcopy(pretrained.config))
    bars: Any = transformers_logging
    bars.disable_progress_bar()
    weights = to_transformers(weights, FAMILIES[pretrained.config.model_type].norm)
    places = shell.state_dict()
    shell.save_pretrained(folder, state_dict={name: tensor for name, tensor in weights.items() if name in places})
    if further := {name: tensor for name, tensor in weights.items() if name not in places}:
        save_file(further, folder / FURTHER, {"format": "pt"})
    save_tokenizer(str(folder))


def export_model(
    folder: Path,
    model: nn.Module,
    weights: Mapping[str, Tensor],
    save_tokenizer: Callable[[str], object],
    check: atomic.Check = atomic.unchecked,
) -> None:
    """Replace `folder` by the model, unless `check` raises: a reader finds the old one or the new one, whole.

    Raises:
        OSError: as for `write_model`; the old one stays.
    """
    check()
    atomic.remove_leftovers(folder.parent, folder.name)
    with atomic.replacing(folder, durable=True, check=check) as aside:
        write_model(aside, model, weights, save_tokenizer)


def _in_words(error: Exception) -> str:
    """Why something could not be written."""
    return reason(error) + (f" ({error.filename})" if isinstance(error, OSError) and error.filename else "")
