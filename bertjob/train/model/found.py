"""A pretrained model as it was found: its config and its weights in transformers' words, whoever wrote it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bertjob.errors import DataError
from bertjob.spec.job import Model
from bertjob.spec.pretrained import CONFIG, FURTHER, TF_CONFIG, Pretrained
from bertjob.train.model.formats import bing, deepspeed, tensorflow, torch_file
from bertjob.train.model.networks import FAMILIES

Weights = Mapping[str, Tensor]
_SIZES: Final = {
    "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}
"""Sizes that the shape of a weight tells: the end of its name, and the dimension."""
_KERNEL_SIZES: Final = {**_SIZES, "intermediate_size": ("encoder.layer.0.inter_w", 0)}
_OWN: Final = "bertjob"
"""Where config.json has what only bertjob reads."""


@dataclass(frozen=True, slots=True)
class Found:
    """A pretrained model.

    Attributes:
        place: its folder or file.
        config: as config.json has it, `model_type` one of networks.FAMILIES.
        weights: reads them; raises DataError.
    """

    place: Path
    config: Mapping[str, Any]
    weights: Callable[[], Weights]

    @property
    def kernel(self) -> Mapping[str, Any] | None:
        """What the checkpoint says of DeepSpeed's transformer kernel, with which it was trained; None: without it."""
        own = self.config.get(_OWN)
        kernel = own.get("kernel") if isinstance(own, Mapping) else None
        return kernel if isinstance(kernel, Mapping) else None


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
        weights = load_file(file) if file.suffix == ".safetensors" else torch_file.load(file)
        further = folder / FURTHER
        return {**weights, **load_file(further)} if further.is_file() else weights
    except (OSError, SafetensorError) as error:
        raise DataError(f"{folder}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error


def _of_deepspeed(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    weights = deepspeed.load(pretrained.weights)
    names, kernel = list(weights), bing.has_kernel(weights)
    if bing.is_bing(names):
        pre = bing.norm_of(names) == "pre"
        weights = bing.renamed(weights, pad or 0)
        config = _config_of(weights, model, pretrained, "roberta-prelayernorm" if pre else "bert", kernel=kernel)
        if pre:
            config["pad_token_id"] = pad or 0
    elif (file := pretrained.folder / CONFIG).is_file():
        config = _checked(file, _json(file))
    else:
        config = _config_of(weights, model, pretrained, "bert", kernel=kernel)
    return Found(pretrained.weights, config, lambda: weights)


def _config_of(
    weights: Weights, model: Model, pretrained: Pretrained, model_type: str, *, kernel: bool
) -> dict[str, Any]:
    """A config from the shapes of the weights; the number of heads, which no shape tells, from elsewhere."""
    config: dict[str, Any] = {"model_type": model_type}
    for size, (ending, dimension) in (_KERNEL_SIZES if kernel else _SIZES).items():
        name = next((name for name in weights if name.endswith(ending)), None)
        if name is None:
            raise DataError(f"{pretrained.weights}: holds no {ending}, so its weights are not those of a BERT")
        config[size] = weights[name].shape[dimension]
    config["num_hidden_layers"] = 1 + max(
        int(name.partition("encoder.layer.")[2].split(".")[0]) for name in weights if "encoder.layer." in name
    )
    beside = next((_json(pretrained.folder / name) for name in (CONFIG, TF_CONFIG) if _is_there(pretrained, name)), {})
    hidden = config["hidden_size"]
    heads = beside.get("num_attention_heads") or model.heads or (hidden // 64 if hidden % 64 == 0 else None)
    if heads is None:
        raise DataError(f"{pretrained.weights}: does not say its attention heads: say model.heads")
    config["num_attention_heads"] = heads
    return config | ({_OWN: {"kernel": {"layout": "deepspeed"}}} if kernel else {})


def _is_there(pretrained: Pretrained, name: str) -> bool:
    return (pretrained.folder / name).is_file()


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
