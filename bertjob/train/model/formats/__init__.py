"""Readers of pretrained weights: whoever wrote them, config and weights come in transformers' names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from bertjob.config.job import Model
from bertjob.config.registry.code import load_code
from bertjob.formats.pretrained import FORMATS, Pretrained

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Found:
    """A pretrained model.

    Attributes:
        place: its folder or file.
        config: like config.json, `model_type` one of networks.FAMILIES; `bertjob` in it is what bertjob wrote.
        weights: reads them; raises DataError.
    """

    place: Path
    config: Mapping[str, Any]
    weights: Callable[[], Weights]


Read = Callable[[Pretrained, Model, int | None], Found]
"""What a row's `read` names; see `find`."""


def find(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    """Read the config of a pretrained model, or make one from its weights.

    Args:
        pretrained: where its parts are.
        model: the job's section, which may say what a checkpoint does not.
        pad: id of the token that fills up rows.

    Raises:
        DataError: a file cannot be read, or is not that of a BERT or RoBERTa.
    """
    read = cast("Read", load_code(FORMATS[pretrained.ckpt_type].read))
    return read(pretrained, model, pad)
