"""The weights of bing_bert, whose pre-training DeepSpeed's tutorials describe, in transformers' names.

Its pre-LN BERT is transformers' RobertaPreLayerNorm (see model.roberta) but for names, and for positions that begin
with row 0 there and with the padding's id + 1 here. Where DeepSpeed's transformer kernel took the place of a layer, the
layer's weights have names of their own (``attn_qkvw`` …).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from torch import Tensor

from bertjob.config.job import Norm

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
