"""A format of pretrained weights as somebody would add it: how it is recognised, how it is read, and a row."""

from pathlib import Path

import numpy as np
import torch

from bertjob.config.job import Model
from bertjob.formats.pretrained import Parts, Pretrained, WeightsFormat
from bertjob.train.model.formats import Found
from bertjob.train.model.formats.hugging_face import read_config

CONFIG, WEIGHTS = "sizes.json", "weights.npz"


def recognise(place: Path) -> Parts | None:
    folder = place.parent if place.is_file() else place
    return Parts(folder, folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None


def read(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    def load() -> dict[str, torch.Tensor]:
        with np.load(pretrained.weights) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}

    return Found(pretrained.folder, read_config(pretrained.folder / CONFIG), load)


NAME = "numpy"
ROW = WeightsFormat(
    recognise=recognise,
    read="toy_weights:read",
    layout="numpy's layout",
    holds=f"{CONFIG} and {WEIGHTS}",
    config=CONFIG,
    files=("*.npz",),
)
