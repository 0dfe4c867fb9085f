"""Models in Hugging Face layout: config.json, and weights in model.safetensors or pytorch_model.bin."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from bertjob.config import bounded
from bertjob.config.job import Model
from bertjob.errors import DataError
from bertjob.formats.pretrained import CONFIG, FURTHER, Pretrained
from bertjob.text import reason
from bertjob.train.model.formats import Found, Weights, pytorch_file
from bertjob.train.model.networks import FAMILIES


def read(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    """The model; see formats.find."""
    folder, file = pretrained.folder, pretrained.weights
    return Found(folder, read_config(folder / CONFIG), lambda: _load(folder, file))


def read_config(file: Path) -> dict[str, Any]:
    """The config.json of a model that bertjob trains; by its name or another.

    Raises:
        DataError: it cannot be read, or is another kind of model's.
    """
    config = read_json(file)
    model_type = config.setdefault("model_type", "bert")
    if model_type not in FAMILIES:
        raise DataError(f"{file}: a model of type {model_type!r}; bertjob trains {', '.join(FAMILIES)}")
    return config


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: there is none.
    """
    try:
        content = bounded.read_json(file, bounded.CONFIG)
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({reason(error)})") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must be a JSON object")
    return content


def _load(folder: Path, file: Path) -> Weights:
    try:
        weights = load_file(file) if file.suffix == ".safetensors" else pytorch_file.load(file)
        further = folder / FURTHER
        return {**weights, **load_file(further)} if further.is_file() else weights
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error
