"""What a 1-bit optimizer would gain: bytes on the wire, time of its stages, and on which networks it pays."""

import msgspec

from bertjob.estimate.network import exposed_seconds, ring_bytes
from bertjob.estimate.rounds import Rounds

_CODED_PER_SECOND = 2e10
"""Values a second that a GPU compresses and unpacks: 24 bytes of each pass its memory, at half of 1 TB/s."""


class Load(msgspec.Struct, frozen=True):
    """What the ranks of a job send, and beside what.

    Attributes:
        parameters: values a step, P.
        value_bytes: of a gradient in full precision: 4, or 2 in DeepSpeed's own fp16 and bf16.
        nodes: N.
        ranks_per_node: G.
        compute: seconds of a step without communication.
        hidden: seconds of it, of the last backward pass, beside which gradients in full precision are on their way.
    """

    parameters: float
    value_bytes: int
    nodes: int
    ranks_per_node: int
    compute: float
    hidden: float


class Compression(msgspec.Struct, frozen=True):
    """A 1-bit optimizer beside the same one in full precision, on several nodes.

    Attributes:
        rounds: shares of the steps in full precision, compressed, and without exchange.
        full_bytes: that a node sends in a step in full precision.
        compressed_bytes: that it sends in a compressed step.
        full_step: seconds of a step in full precision; None where the network's rate is not known, as the next ones.
        compressed_step: seconds of a compressed step.
        silent_step: seconds of a step without exchange.
        pays_below: 10^9 bits a second of a node, up to which a compressed step is the faster one.
    """

    rounds: Rounds
    full_bytes: float
    compressed_bytes: float
    full_step: float | None
    compressed_step: float | None
    silent_step: float
    pays_below: float

    @property
    def volume(self) -> float:
        """How many times less is sent over the whole training.

        On one rank a node, with a warm-up of share w in 16 bits, ``1 / (w + (1 - w) / 16)`` (Tang et al., arXiv
        2102.02888, section 7).
        """
        rounds = self.rounds
        return self.full_bytes / (rounds.full * self.full_bytes + rounds.compressed * self.compressed_bytes)

    @property
    def stage_speed(self) -> float | None:
        """How many times as fast compressed steps are."""
        if self.full_step is None or self.compressed_step is None:
            return None
        return self.full_step / self.compressed_step

    @property
    def step(self) -> float | None:
        """Mean seconds of a step over the whole training."""
        if self.full_step is None or self.compressed_step is None:
            return None
        rounds = self.rounds
        return (
            rounds.full * self.full_step + rounds.compressed * self.compressed_step + rounds.silent * self.silent_step
        )

    @property
    def speed(self) -> float | None:
        """How many times as fast the whole training is: ``1 / (w + (1 - w) / stage_speed)``."""
        return None if self.full_step is None or self.step is None else self.full_step / self.step


def compression(load: Load, rounds: Rounds, bandwidth: float | None, *, hierarchical: bool) -> Compression:
    """Full precision against one bit a value.

    In full precision gradients leave while the last backward pass still computes; the momentum, which is compressed, is
    there only after it. So on a fast network nothing is left to gain, and coding costs.

    Args:
        load: what is sent, beside what.
        rounds: of the optimizer.
        bandwidth: bytes a second that a node sends, B; None where that is not known.
        hierarchical: ranks of a node add up first.
    """
    full = ring_bytes(load.value_bytes * load.parameters, load.nodes)
    bits = one_bit_bytes(load.parameters, load.nodes, load.ranks_per_node, hierarchical=hierarchical)
    coding = load.parameters / _CODED_PER_SECOND
    return Compression(
        rounds=rounds,
        full_bytes=full,
        compressed_bytes=bits,
        full_step=full_seconds(load, bandwidth),
        compressed_step=None if bandwidth is None else load.compute + bits / bandwidth + coding,
        silent_step=load.compute,
        pays_below=8e-9 * (full - bits) / (load.hidden + coding),
    )


def full_seconds(load: Load, bandwidth: float | None) -> float | None:
    """Seconds of a step in full precision; None where the network has a part in it and its rate is not known."""
    if load.nodes == 1:
        return load.compute
    if bandwidth is None:
        return None
    sent = ring_bytes(load.value_bytes * load.parameters, load.nodes)
    return load.compute + exposed_seconds(sent / bandwidth, load.hidden)


def one_bit_bytes(parameters: float, nodes: int, ranks_per_node: int, *, hierarchical: bool) -> float:
    """What a node sends in a compressed step, but for some scales.

    Each rank sends every other its share of P / 8 bytes, and then the averaged shares go around (Tang et al., arXiv
    2102.02888, figure 3). By nodes, all ranks of one send together what one rank would: ``2 (N - 1) / N P / 8``.

    Args:
        parameters: P.
        nodes: N.
        ranks_per_node: G.
        hierarchical: ranks of a node add up first.
    """
    ranks = nodes * ranks_per_node
    bits = parameters / 8
    if hierarchical:
        return ring_bytes(bits, nodes)
    around = (ranks - 1) / ranks if nodes > 1 else 0
    return (ranks_per_node * (nodes - 1) / nodes + around) * bits
