"""Google's BERT checkpoints of TensorFlow, in transformers' names.

A name is a path of scopes: ``bert/encoder/layer_0/attention/self/query/kernel``. Kernels are transposed, for torch
multiplies from the other side.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from bertjob.errors import DataError
from bertjob.train.model.formats.bundle import read_index, read_tensors

_WORDS: Final = "bert/embeddings/word_embeddings"
_OPTIMIZER: Final = re.compile(r"(^|/)(adam|lamb)_[mv]$|Optimizer|^(global_step|loss_scale|good_steps|bad_steps)")
"""Names of what an optimizer keeps."""
_RENAMED: Final = (
    (re.compile(r"/layer_(\d+)/"), r"/layer/\1/"),
    (re.compile(r"_embeddings$"), "_embeddings/weight"),
    (re.compile(r"^cls/squad/output_"), "qa_outputs/"),
    (re.compile(r"/output_bias$|/beta$"), "/bias"),
    (re.compile(r"/(kernel|gamma|output_weights)$"), "/weight"),
    (re.compile(r"^qa_outputs/weights$"), "qa_outputs/weight"),
)


def load(prefix: Path) -> Mapping[str, Tensor]:
    """The weights of a checkpoint.

    Args:
        prefix: what the names of its files begin with.

    Raises:
        DataError: it cannot be read, or holds no BERT.
    """
    entries = {name: entry for name, entry in read_index(prefix).items() if not _OPTIMIZER.search(name)}
    if _WORDS not in entries:
        raise DataError(f"{prefix}: holds no {_WORDS}, so it is no BERT of Google's ({', '.join(sorted(entries)[:3])})")
    return {
        renamed(name): torch.from_numpy(array.T.copy() if name.endswith("/kernel") else array)
        for name, array in read_tensors(prefix, entries)
    }


def renamed(name: str) -> str:
    """TensorFlow's name of a weight as transformers has it."""
    for pattern, replacement in _RENAMED:
        name = pattern.sub(replacement, name)
    return name.replace("/", ".")
