"""The loss of extractive question answering."""

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional


def span_loss(start_logits: Tensor, end_logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    """Mean over the samples of the cross-entropies of first and last token (Devlin et al., arXiv 1810.04805, 4.2).

    Args:
        start_logits: float32 ``[B, L]``, minus infinity where a sample has no token.
        end_logits: the same for the last token.
        targets: int64 ``[B]`` each, `start_positions` and `end_positions`.

    Returns:
        A scalar, float32.
    """
    start = functional.cross_entropy(start_logits, targets["start_positions"])
    end = functional.cross_entropy(end_logits, targets["end_positions"])
    return (start + end) / 2
