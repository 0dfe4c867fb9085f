"""How large a BERT is: its sizes, its parameters, the work of a sample."""

from collections.abc import Mapping
from typing import Any

import msgspec

from bertjob.config.job import Model

BERTS_TOKENS = 30522
"""Of the vocabulary of bert-base-uncased."""


class Sizes(msgspec.Struct, frozen=True):
    """The sizes of a BERT.

    Attributes:
        layers: transformer layers, L.
        hidden: hidden size, h.
        ff: feed-forward size, f.
        vocab: word embeddings, V.
        positions: position embeddings.
    """

    layers: int
    hidden: int
    ff: int
    vocab: int = BERTS_TOKENS
    positions: int = 512


KNOWN: Mapping[str, Sizes] = {
    "demo": Sizes(6, 384, 1536),
    "bert-base-uncased": Sizes(12, 768, 3072),
    "bert-base-cased": Sizes(12, 768, 3072, 28996),
    "bert-large-uncased": Sizes(24, 1024, 4096),
    "bert-large-cased": Sizes(24, 1024, 4096, 28996),
    "bert-large-uncased-whole-word-masking": Sizes(24, 1024, 4096),
}
"""Models that a job may name without a folder to look into; on the hub also as ``google-bert/NAME``."""


def sizes(model: Model, config: Mapping[str, Any] | None, tokens: int | None = None) -> Sizes | None:
    """The sizes of a job's model; None where it names one that is not known here.

    Args:
        model: the job's section.
        config: config.json of the folder that ``model.init`` names, where there is one.
        tokens: of the vocabulary of a model that is not pretrained (default: as many as bert-base-uncased's).
    """
    if config is not None:
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "max_position_embeddings")
        numbers = [number for name in names if isinstance(number := config.get(name), int)]
        return Sizes(*numbers) if len(numbers) == len(names) else None
    yet_to_be_trained = model.init.startswith("run:") and model.layers is not None and model.hidden is not None
    if model.init == "random" or yet_to_be_trained:
        hidden = model.hidden or 768
        vocab = -(-(tokens or BERTS_TOKENS) // model.pad_vocab) * model.pad_vocab
        return Sizes(model.layers or 12, hidden, model.ff or 4 * hidden, vocab)
    return KNOWN.get(model.init.removeprefix("google-bert/"))


def parameters(sizes: Sizes) -> int:
    """Parameters of the encoder with its embeddings; a head for answer spans adds next to nothing."""
    h, f = sizes.hidden, sizes.ff
    embeddings = (sizes.vocab + sizes.positions + 2) * h + 2 * h
    layer = 4 * (h * h + h) + 2 * h * f + f + h + 4 * h
    return embeddings + sizes.layers * layer


def flops(sizes: Sizes, tokens: float, squares: float, masked: float = 0.0) -> float:
    """Floating-point operations of one sample's forward and backward pass; a multiply and an add are two.

    ``3 [2 L (4 h^2 + 2 h f) T + 4 L h T^2 + 2 P (h^2 + h V)]``: the matrix products (as Narayanan et al., arXiv
    2104.04473, appendix, count them), the backward pass counted twice.

    Args:
        sizes: the model's.
        tokens: T, tokens of a sample, the mean where they differ.
        squares: T^2, the mean of their squares.
        masked: P, tokens that the head of pre-training scores; 0 without it.
    """
    h = sizes.hidden
    layers = 2 * sizes.layers * (4 * h * h + 2 * h * sizes.ff) * tokens + 4 * sizes.layers * h * squares
    return 3 * (layers + 2 * masked * (h * h + h * sizes.vocab))
