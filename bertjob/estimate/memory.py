"""What a rank keeps in its GPU's memory: state by ZeRO stage, and activations of one micro batch."""

from collections.abc import Collection

import msgspec

from bertjob.config.registry.optimizers import OneBitRow
from bertjob.estimate.model_size import Sizes, parameters

_PER_TOKEN = {"half": (26, 4), "single": (36, 8)}
"""Bytes that one layer keeps of a token for the backward pass: so many for each unit of the hidden size, and so many
for each unit of ff; under bf16 or fp16 autocast, and in fp32. Counted on BERT with attention that keeps no matrix of
scores, without dropout's masks (about 3 more)."""
_RESERVE = 1.5 * 2**30
"""Bytes: CUDA's context, NCCL's buffers, workspaces of matrix products."""


class Memory(msgspec.Struct, frozen=True):
    """Bytes of a rank.

    Attributes:
        state: weights, gradients, moments, and errors of a 1-bit optimizer.
        activations: what the forward pass of one micro batch leaves for the backward pass.
    """

    state: float
    activations: float

    @property
    def total(self) -> float:
        """All of it, with what CUDA and NCCL take."""
        return self.state + self.activations + _RESERVE


def state_bytes(
    sizes: Sizes, world: int, zero_stage: int, half: bool, offloaded: Collection[str] = frozenset(), *, moments: int
) -> float:
    """Weights, gradients and the optimizer's moments, of one rank, on its GPU.

    By autocast, and in fp32, all are float32: with two moments, 16 bytes per parameter. DeepSpeed's own fp16 and bf16
    have weights and gradients in half precision besides float32 weights and moments (Rajbhandari et al., arXiv
    1910.02054, 3.1), also 16. ZeRO 1 divides the moments (and float32 copies) over the ranks, 2 the gradients too, 3
    all. What is offloaded is in the memory of the node: the optimizer's part, with the gradients where a rank keeps
    only its own (Ren et al., arXiv 2101.06840), and the weights.

    Args:
        sizes: the model's.
        world: ranks, N.
        zero_stage: 0 to 3.
        half: DeepSpeed's own fp16 or bf16.
        offloaded: of "optimizer" and "param", what is on the CPU.
        moments: float32 values per parameter that the optimizer keeps.
    """
    weights, gradients, rest = (2, 2, 4 + 4 * moments) if half else (4, 4, 4 * moments)
    weights = 0 if "param" in offloaded else weights
    if "optimizer" in offloaded:
        rest, gradients = 0, gradients if zero_stage < 2 else 0
    kept = sum(part for part, divided_from in ((weights, 3), (gradients, 2), (rest, 1)) if zero_stage < divided_from)
    return parameters(sizes) * (kept + (weights + gradients + rest - kept) / world)


def compression_bytes(sizes: Sizes, one_bit: OneBitRow, ranks: int, inside: int = 1) -> float:
    """What a 1-bit optimizer keeps besides its moments.

    The errors of its worker, and of its share of the server; three messages of one bit per value; and its own buffers.
    If nodes exchange the bits, each rank does so for its part of the values, and has the parts of its node's other
    ranks.

    Args:
        sizes: the model's.
        one_bit: of its row.
        ranks: N.
        inside: of these, those of a node that average in full precision first.
    """
    own = 4 * one_bit.buffers
    exchanged = 4 + 4 * inside / ranks + 3 / 8
    parts = 4 + 4 / inside if inside > 1 else 0
    return parameters(sizes) * (own + parts + exchanged / inside)


def activation_bytes(
    sizes: Sizes, tokens: float, fp32: bool, masked: float = 0.0, *, checkpointed: bool = False
) -> float:
    """What one micro batch leaves for its backward pass.

    Args:
        sizes: the model's.
        tokens: of the whole micro batch.
        fp32: computes in float32, not under autocast.
        masked: tokens that the head of pre-training scores: their float32 scores, and the gradient of these.
        checkpointed: each layer keeps what enters it, and one at a time all of it.
    """
    base, slope = _PER_TOKEN["single" if fp32 else "half"]
    layer = (base * sizes.hidden + slope * sizes.ff) * tokens
    entering = (4 if fp32 else 2) * sizes.hidden * tokens
    layers = sizes.layers * entering + layer if checkpointed else sizes.layers * layer
    return layers + masked * sizes.vocab * (12 if fp32 else 10)
