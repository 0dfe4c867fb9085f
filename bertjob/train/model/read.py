"""A pretrained model as it was found: its config and its weights in transformers' words, whoever wrote it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bertjob.config.checks.kernel import MARK, mark
from bertjob.config.job import Kernel, Model
from bertjob.errors import DataError
from bertjob.formats.pretrained import CONFIG, FURTHER, TF_CONFIG, Pretrained
from bertjob.train.model.formats import bing_bert, pytorch_file, tensorflow
from bertjob.train.model.formats.bing_bert import sizes_of
from bertjob.train.model.kernel.weights import to_transformers
from bertjob.train.model.networks import FAMILIES

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Found:
    """A pretrained model.

    Attributes:
        place: its folder or file.
        config: as config.json has it, `model_type` one of networks.FAMILIES; `bertjob` below it is what bertjob wrote.
        weights: reads them; raises DataError.
    """

    place: Path
    config: Mapping[str, Any]
    weights: Callable[[], Weights]


def find(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    """Read the config of a pretrained model, or make one from its weights.

    Args:
        pretrained: where its parts are.
        model: the job's section, which may say what a checkpoint does not.
        pad: id of the token that fills up rows.

    Raises:
        DataError: a file cannot be read, or is not that of a BERT or RoBERTa.
    """
    folder, file = pretrained.folder, pretrained.weights
    if pretrained.ckpt_type == "tf":
        config = {"model_type": "bert", **_json(folder / TF_CONFIG)}
        return Found(file, config, lambda: tensorflow.load(file))
    if pretrained.ckpt_type == "deepspeed":
        return _of_deepspeed(pretrained, model, pad)
    return Found(folder, _checked(folder / CONFIG, _json(folder / CONFIG)), lambda: _of_hugging_face(folder, file))


def _of_hugging_face(folder: Path, file: Path) -> Weights:
    try:
        weights = load_file(file) if file.suffix == ".safetensors" else pytorch_file.load(file)
        further = folder / FURTHER
        return {**weights, **load_file(further)} if further.is_file() else weights
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error


def _of_deepspeed(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    file, weights = pretrained.weights, pytorch_file.load(pretrained.weights)
    trained: dict[str, Any] = {}
    if bing_bert.has_kernel(weights):
        weights = to_transformers(weights, bing_bert.norm_of(weights))
        trained = {MARK: mark(Kernel(enabled=True))}
    config = pretrained.folder / CONFIG
    if not bing_bert.is_bing(weights) and config.is_file():
        return Found(file, _checked(config, _json(config)) | trained, lambda: weights)
    renamed = bing_bert.renamed(weights, pad or 0)
    sizes = sizes_of(renamed, file)
    heads = _heads(pretrained, model, sizes["hidden_size"])
    kind = _kind(renamed, sizes, pad)
    return Found(file, {**kind, **sizes, **trained, "num_attention_heads": heads}, lambda: renamed)


def _kind(weights: Weights, sizes: Mapping[str, int], pad: int | None) -> dict[str, Any]:
    """Whose network it is, as far as names and sizes tell: a RoBERTa, as HelloDeepSpeed's, knows but one segment."""
    if any(name.startswith("roberta_prelayernorm.") for name in weights):
        return {"model_type": "roberta-prelayernorm", "pad_token_id": pad or 0}
    if sizes["type_vocab_size"] == 1:
        return {"model_type": "roberta", "pad_token_id": 1 if pad is None else pad, "layer_norm_eps": 1e-5}
    return {"model_type": "bert"}


def _heads(pretrained: Pretrained, model: Model, hidden: int) -> int:
    """The number of attention heads, which no shape tells: by a config beside the file, the job, or as usual."""
    beside = (pretrained.folder / name for name in (CONFIG, TF_CONFIG))
    config = next((_json(file) for file in beside if file.is_file()), {})
    heads = config.get("num_attention_heads") or model.heads or (hidden // 64 if hidden % 64 == 0 else None)
    if heads is None:
        raise DataError(f"{pretrained.weights}: does not say its attention heads: say model.heads")
    return int(heads)


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must be a JSON object")
    return content


def _checked(file: Path, config: dict[str, Any]) -> dict[str, Any]:
    kind = config.setdefault("model_type", "bert")
    if kind not in FAMILIES:
        raise DataError(f"{file}: a model of type {kind!r}; bertjob trains {', '.join(FAMILIES)}")
    return config
