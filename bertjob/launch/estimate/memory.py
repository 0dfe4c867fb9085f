"""What a rank keeps in its GPU's memory: state by ZeRO stage, and activations of one micro batch."""

import msgspec

from bertjob.launch.estimate.sizes import Sizes, parameters

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


def state_bytes(sizes: Sizes, world: int, zero_stage: int, half: bool) -> float:
    """Weights, gradients and the two moments of AdamW or LAMB, of one rank.

    By autocast, and in fp32, all four are float32: 16 bytes a parameter. DeepSpeed's own fp16 and bf16 have half
    precision's weights and gradients beside float32 weights and moments (Rajbhandari et al., arXiv 1910.02054, 3.1),
    also 16. ZeRO 1 divides the moments (and float32 copies) over the ranks, 2 the gradients too, 3 all.

    Args:
        sizes: the model's.
        world: ranks, N.
        zero_stage: 0 to 3.
        half: DeepSpeed's own fp16 or bf16.
    """
    weights, gradients, rest = (2, 2, 12) if half else (4, 4, 8)
    whole = {0: (weights, gradients, rest), 1: (weights, gradients), 2: (weights,), 3: ()}[zero_stage]
    kept = sum(whole)
    return parameters(sizes) * (kept + (16 - kept) / world)


def error_bytes(sizes: Sizes, world: int) -> float:
    """What a 1-bit optimizer keeps beside its moments: the errors of its worker, and of its share of the server.

    Args:
        sizes: the model's.
        world: ranks, N.
    """
    return parameters(sizes) * (4 + 4 / world)


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
