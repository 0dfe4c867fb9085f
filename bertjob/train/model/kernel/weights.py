"""The weights of a transformer layer in two layouts: transformers' modules, and DeepSpeed's kernel.

The kernel holds query, key and value as one matrix, ``[3 h, h]`` in this order, and names its tensors by itself. Of its
two LayerNorms, ``attn_n`` is the one between attention and feed-forward, ``norm`` the other: the layer's last where
LayerNorms come after what they normalise (BERT), its first where they come before (pre-LN).

All functions are pure, and those over whole state dicts leave names alone that belong to no layer.
"""

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from bertjob.config.job import Norm

_EITHER = {
    "attn_qkvw": tuple(f"attention.self.{part}.weight" for part in ("query", "key", "value")),
    "attn_qkvb": tuple(f"attention.self.{part}.bias" for part in ("query", "key", "value")),
    "attn_ow": ("attention.output.dense.weight",),
    "attn_ob": ("attention.output.dense.bias",),
    "inter_w": ("intermediate.dense.weight",),
    "inter_b": ("intermediate.dense.bias",),
    "output_w": ("output.dense.weight",),
    "output_b": ("output.dense.bias",),
}
_LAYER_NORMS: Mapping[Norm, Mapping[str, str]] = {
    "post": {"attn_n": "attention.output.LayerNorm", "norm_": "output.LayerNorm"},
    "pre": {"attn_n": "intermediate.LayerNorm", "norm_": "attention.LayerNorm"},
}
_OF_A_LAYER = re.compile(r"((?:.*\.)?layer\.\d+\.)(.+)")


def names(norm: Norm) -> dict[str, tuple[str, ...]]:
    """The kernel's names, each with those of the tensors that it stacks in transformers' layer."""
    parts = {
        f"{short}{letter}": (f"{module}.{tensor}",)
        for short, module in _LAYER_NORMS[norm].items()
        for letter, tensor in (("w", "weight"), ("b", "bias"))
    }
    return _EITHER | parts


def to_kernel(weights: Mapping[str, Tensor], norm: Norm) -> dict[str, Tensor]:
    """A state dict whose layers are in the kernel's layout.

    Args:
        weights: in transformers' layout; layers are what stands below ``layer.N.``.
        norm: where its LayerNorms stand.

    Raises:
        KeyError: a layer lacks a tensor.
    """
    kept = {name: tensor for name, tensor in weights.items() if _layer(name) is None}
    layers = {
        f"{layer}{name}": torch.cat([weights[f"{layer}{part}"] for part in parts])  # a copy, also of one alone
        for layer in _layers(weights)
        for name, parts in names(norm).items()
    }
    return kept | layers


def to_transformers(weights: Mapping[str, Tensor], norm: Norm) -> dict[str, Tensor]:
    """The inverse of `to_kernel`; weights that are in transformers' layout already stay as they are.

    Args:
        weights: in the kernel's layout.
        norm: where its LayerNorms stand.
    """
    known = names(norm)
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        matched = _OF_A_LAYER.fullmatch(name)
        parts = known.get(matched[2]) if matched else None
        if matched is None or parts is None:
            found[name] = tensor
            continue
        pieces = tensor.chunk(len(parts))
        found |= {f"{matched[1]}{part}": piece.clone() for part, piece in zip(parts, pieces, strict=True)}
    return found


def _layers(names_: Iterable[str]) -> list[str]:
    """The layers' prefixes, each once."""
    return list(dict.fromkeys(layer for name in names_ if (layer := _layer(name)) is not None))


def _layer(name: str) -> str | None:
    matched = _OF_A_LAYER.fullmatch(name)
    return None if matched is None else matched[1]
