"""Checkpoints of DeepSpeed's engine, and of bing_bert, whose pre-training DeepSpeed's tutorials describe.

bing_bert's names become transformers'. Its pre-LN BERT is transformers' RobertaPreLayerNorm (see model.roberta) but for
names, and for positions that begin with row 0 there and with the padding's id + 1 here. Where DeepSpeed's transformer
kernel took the place of a layer, the layer's weights have names of their own (``attn_qkvw`` …).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import torch
from torch import Tensor

from bertjob.config.checks.kernel import MARK, mark
from bertjob.config.job import Kernel, Model, Norm
from bertjob.errors import DataError
from bertjob.formats.pretrained import CONFIG, Pretrained, config_names
from bertjob.train.model.formats import Found, Weights, hugging_face, pytorch_file
from bertjob.train.model.kernel.weights import to_transformers

_SIZES: Final = {
    "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}
"""How the name of a weight ends, and the dimension that is this size."""
_LAYERS: Final = "encoder.layer."
_POSITIONS: Final = "roberta_prelayernorm.embeddings.position_embeddings.weight"
_PRE: Final = (
    (r"^bert\.encoder\.FinalLayerNorm\.", "roberta_prelayernorm.LayerNorm."),
    (r"^bert\.", "roberta_prelayernorm."),
    (r"\.PreAttentionLayerNorm\.", ".attention.LayerNorm."),
    (r"\.PostAttentionLayerNorm\.", ".intermediate.LayerNorm."),
    (r"^cls\.predictions\.transform\.dense(_act)?\.", "lm_head.dense."),
    (r"^cls\.predictions\.transform\.LayerNorm\.", "lm_head.layer_norm."),
    (r"^cls\.predictions\.", "lm_head."),
    (r"^cls\.seq_relationship\.", "seq_relationship."),
    (r"\.dense_act\.", ".dense."),
)
_POST: Final = ((r"\.dense_act\.", ".dense."),)


def read(pretrained: Pretrained, model: Model, pad: int | None) -> Found:
    """The model; see formats.find. Without a config.json, its sizes are those of its weights."""
    file, weights = pretrained.weights, pytorch_file.load(pretrained.weights)
    trained: dict[str, Any] = {}
    if has_kernel(weights):
        weights = to_transformers(weights, norm_of(weights))
        trained = {MARK: mark(Kernel(enabled=True))}
    config = pretrained.folder / CONFIG
    if not is_bing(weights) and config.is_file():
        return Found(file, hugging_face.read_config(config) | trained, lambda: weights)
    found = renamed(weights, pad or 0)
    sizes = sizes_of(found, file)
    heads = _heads(pretrained, model, sizes["hidden_size"])
    return Found(file, {**_kind(found, sizes, pad), **sizes, **trained, "num_attention_heads": heads}, lambda: found)


def _kind(weights: Weights, sizes: Mapping[str, int], pad: int | None) -> dict[str, Any]:
    """The kind of network, judged by names and sizes: a RoBERTa, like HelloDeepSpeed's, has only one segment."""
    if any(name.startswith("roberta_prelayernorm.") for name in weights):
        return {"model_type": "roberta-prelayernorm", "pad_token_id": pad or 0}
    if sizes["type_vocab_size"] == 1:
        return {"model_type": "roberta", "pad_token_id": 1 if pad is None else pad, "layer_norm_eps": 1e-5}
    return {"model_type": "bert"}


def _heads(pretrained: Pretrained, model: Model, hidden: int) -> int:
    """The number of attention heads, which no shape shows: by a config beside the file, by the job, or the usual."""
    beside = (pretrained.folder / name for name in config_names())
    config = next((hugging_face.read_json(file) for file in beside if file.is_file()), {})
    heads = config.get("num_attention_heads") or model.heads or (hidden // 64 if hidden % 64 == 0 else None)
    if heads is None:
        raise DataError(f"{pretrained.weights}: does not say its attention heads: say model.heads")
    return int(heads)


def sizes_of(weights: Mapping[str, Tensor], source: object) -> dict[str, int]:
    """The sizes of config.json, but for the number of attention heads.

    Args:
        weights: in transformers' names.
        source: their file, for messages.

    Raises:
        DataError: one that tells a size is missing, or is no matrix.
    """
    found = {}
    for size, (ending, dimension) in _SIZES.items():
        name = next((name for name in weights if name.endswith(ending)), None)
        if name is None:
            raise DataError(f"{source}: holds no {ending}, so its weights are not those of a BERT")
        shape = tuple(weights[name].shape)
        if len(shape) != 2:
            raise DataError(f"{source}: its {name} has {len(shape)} dimensions, where that of a BERT has 2")
        found[size] = shape[dimension]
    layers = {name.partition(_LAYERS)[2].split(".")[0] for name in weights if _LAYERS in name}
    return found | {"num_hidden_layers": len(layers)}


def is_bing(names: Iterable[str]) -> bool:
    """Whether names of weights are bing_bert's own."""
    return any(".dense_act." in name or ".FinalLayerNorm." in name for name in names)


def has_kernel(names: Iterable[str]) -> bool:
    """Whether layers are DeepSpeed's transformer kernel."""
    return any(name.endswith(".attn_qkvw") for name in names)


def norm_of(names: Iterable[str]) -> Norm:
    """Where the LayerNorms stand: only pre-LN has one at the end."""
    return "pre" if any(".FinalLayerNorm." in name for name in names) else "post"


def renamed(weights: Mapping[str, Tensor], pad: int) -> dict[str, Tensor]:
    """The weights in transformers' names.

    Args:
        weights: in bing_bert's.
        pad: id of the token that fills up rows; pre-LN positions begin after it.
    """
    rules = _PRE if norm_of(weights) == "pre" else _POST
    found = {_renamed(name, rules): tensor for name, tensor in weights.items()}
    if (rows := found.get(_POSITIONS)) is not None:
        found[_POSITIONS] = torch.cat([rows.new_zeros(pad + 1, rows.size(1)), rows])
    return found


def _renamed(name: str, rules: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
