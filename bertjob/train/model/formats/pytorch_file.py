"""The weights in a checkpoint of DeepSpeed's engine, or in any file of torch with a state dict."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from bertjob.errors import DataError
from bertjob.formats.pretrained import PARTS
from bertjob.train.model.formats import torch_file

_MODULES: Final = ("module", "model_state_dict", "model", "state_dict")
"""Where a file has the state dict: the engine's own name, that of its first version, and what other people write."""
_WORDS: Final = "embeddings.word_embeddings.weight"
_ROOTS: Final = ("bert", "roberta", "roberta_prelayernorm")


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
    state = _state(torch_file.load(file))
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
