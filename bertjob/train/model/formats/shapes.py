"""What the shapes of weights tell of the network that they are of."""

from collections.abc import Mapping
from typing import Final

from torch import Tensor

from bertjob.errors import DataError

_SIZES: Final = {
    "hidden_size": ("embeddings.word_embeddings.weight", 1),
    "vocab_size": ("embeddings.word_embeddings.weight", 0),
    "max_position_embeddings": ("embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("embeddings.token_type_embeddings.weight", 0),
    "intermediate_size": ("encoder.layer.0.intermediate.dense.weight", 0),
}
"""How the name of a weight ends, and the dimension that is this size."""
_LAYERS: Final = "encoder.layer."


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
