"""Bytes that ranks exchange per step, what a 1-bit optimizer would save of them, and on which networks it pays."""

from collections.abc import Callable
from typing import cast

import msgspec

from bertjob.config.checks.variance import earliest_freeze
from bertjob.config.job import Optimizer
from bertjob.config.registry.code import load_code
from bertjob.config.registry.optimizers import OPTIMIZERS

WARM_UP = 0.15
"""Share of the steps before the freeze where the job does not say it: the papers' for pre-training."""
_CODED_PER_SECOND = 2e10
"""Values a second that a GPU compresses and unpacks: 24 bytes of each pass its memory, at half of 1 TB/s."""


def ring_bytes(size: float, nodes: int) -> float:
    """What a node sends in an all-reduce by a ring over the nodes: ``2 (N - 1) / N S``.

    Source: Patarasuk and Yuan, J. Parallel Distrib. Comput. 69, 2009. Within a node the links are so much faster that
    they are left out.

    Args:
        size: bytes to be added up, S.
        nodes: N.
    """
    return 2 * (nodes - 1) / nodes * size


def exposed_seconds(communication: float, last_backward: float) -> float:
    """Communication that nothing hides: gradients leave while the last micro batch's backward pass computes."""
    return max(0.0, communication - last_backward)


class Rounds(msgspec.Struct, frozen=True):
    """Shares of all steps.

    Attributes:
        full: exchange gradients in full precision.
        compressed: exchange one bit a value.
    """

    full: float
    compressed: float

    @property
    def silent(self) -> float:
        """Exchange nothing: the local steps of 0/1 Adam."""
        return 1.0 - self.full - self.compressed


Prediction = Callable[[Optimizer, int, int], Rounds]
"""Rounds of a 1-bit optimizer with these settings, whose variance is frozen after so many steps, of so many in all."""


def rounds(optimizer: Optimizer, steps: int | None) -> Rounds:
    """The rounds of a 1-bit optimizer.

    Args:
        optimizer: of the job; if `freeze_step` is `auto` or not set, the freeze comes after `WARM_UP` of the steps,
            with `auto` not before it can.
        steps: of the training; None if that is not known, and then shares are those of the papers.
    """
    one_bit = OPTIMIZERS[optimizer.name].one_bit
    assert one_bit is not None, "other optimizers have no such rounds"
    said = optimizer.freeze_step
    total = steps or 100_000
    frozen = round(WARM_UP * total)
    if steps and said is not None:
        frozen = min(total, max(frozen, earliest_freeze(optimizer.betas[1])) if said == "auto" else said)
    return cast("Prediction", load_code(one_bit.rounds))(optimizer, frozen, total)


def rounds_from_freeze(optimizer: Optimizer, frozen: int, total: int) -> Rounds:
    """Full precision until the freeze, one bit per value after it: 1-bit Adam and 1-bit LAMB."""
    return Rounds(frozen / total, 1.0 - frozen / total)


def rounds_of_zeroone(optimizer: Optimizer, frozen: int, total: int) -> Rounds:
    """Rounds of 0/1 Adam (Lu et al., arXiv 2202.06009, section 6).

    Until the freeze one step in 1, 2, 4, … updates the variance in full precision, doubled after every
    ``var_update_scaler`` of them, and the others send bits. After it one step in 1, 2, 4, … sends bits, doubled after
    every ``local_step_scaler`` steps, up to ``local_step_clipper``.
    """
    said = optimizer.onebit
    full, step, interval = 0, 0, 1
    while step < frozen:
        full += 1
        step += interval
        interval *= 2 if full % said.var_update_scaler == 0 else 1
    compressed, step, interval = frozen - full, frozen, 1
    while step < total:
        length = min(said.local_step_scaler, total - step)
        compressed += length // interval
        step += length
        interval = min(2 * interval, said.local_step_clipper)
    return Rounds(full / total, compressed / total)


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
