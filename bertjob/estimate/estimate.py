"""A job's estimate: how many steps, how long, how much memory, and which micro batches fit."""

import math
from collections.abc import Iterator

import msgspec

from bertjob.config.checks.batch_size import divisors, solve, total_steps
from bertjob.config.checks.deepspeed_config import enabled_precision
from bertjob.config.job import Job
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.config.site import Gpu
from bertjob.errors import SpecError
from bertjob.estimate.communication import Compression, Load, compression, full_seconds, ring_bytes, rounds
from bertjob.estimate.memory import Memory, activation_bytes, compression_bytes, state_bytes
from bertjob.estimate.model_size import Sizes, flops, parameters
from bertjob.estimate.sample_counts import Samples

PEAK_SHARE = 0.45
"""Share of a GPU's peak rate that training reaches with many tokens at once. Published for V100: from 0.52 (sequence
length 128) to 0.29 (SQuAD); see the test of estimates."""
HALF_SPEED_TOKENS = 700
"""Tokens of a micro batch with which it reaches half of that: small ones leave a GPU waiting for its next kernel."""
_BACKWARD = 2 / 3
"""The backward pass' share of the work."""


class Estimate(msgspec.Struct, frozen=True):
    """What a job will take.

    Attributes:
        steps: optimizer steps; None where neither the job nor its data say it.
        seconds_per_step: of one of them.
        samples_per_second: over all ranks.
        communication: share of a step that waits for other nodes, 0 … 1; None where the fabric's rate is not known.
        sending: seconds a step that gradients travel, most of them while the last backward pass computes; likewise.
        compression: what its 1-bit optimizer gains; None without one, or on one node.
        memory: of one rank.
        gpu_memory: bytes that a GPU has.
        micro_batches: those that divide the work and fit, ascending.
    """

    steps: int | None
    seconds_per_step: float
    samples_per_second: float
    communication: float | None
    sending: float | None
    compression: Compression | None
    memory: Memory
    gpu_memory: float
    micro_batches: tuple[int, ...]

    @property
    def seconds(self) -> float | None:
        """Of the whole training, without start-up, evaluation and checkpoints."""
        return None if self.steps is None else self.steps * self.seconds_per_step

    @property
    def fits(self) -> bool:
        """Whether a rank's memory holds it."""
        return self.memory.total <= self.gpu_memory


def estimate(
    job: Job, sizes: Sizes, samples: Samples, gpu: Gpu, nodes: int, ranks: int, gbits: float | None
) -> Estimate:
    """What a job takes on GPUs.

    Args:
        job: with its batches.
        sizes: of its model.
        samples: what it trains on.
        gpu: one rank's.
        nodes: nodes.
        ranks: ranks over all nodes, each with a GPU of its own.
        gbits: 10^9 bits a second that a node sends; None where that is not known.

    Raises:
        SpecError: the site says nothing of its GPUs, or the batches do not come out even.
    """
    train = job.train
    rate = _rate(job, gpu)
    work = flops(sizes, samples.tokens, samples.squares, samples.masked)
    at_once = train.micro_batch * samples.tokens
    micro = train.micro_batch * work / (rate * PEAK_SHARE * at_once / (at_once + HALF_SPEED_TOKENS))
    accumulation = solve(train.global_batch, train.micro_batch, ranks)
    compute = accumulation * micro
    bandwidth = math.inf if nodes == 1 else None if gbits is None else gbits * 1e9 / 8
    load = Load(
        parameters=parameters(sizes),
        value_bytes=2 if _own_half(job) else 4,
        nodes=nodes,
        ranks_per_node=ranks // nodes,
        compute=compute,
        hidden=micro * _BACKWARD,
    )
    gain, step = None, full_seconds(load, bandwidth)
    sent = ring_bytes(load.value_bytes * load.parameters, nodes)
    if OPTIMIZERS[job.optimizer.name].one_bit is not None and nodes > 1:
        hierarchical = job.optimizer.onebit.hierarchical
        gain = compression(load, rounds(job.optimizer, steps(job, samples)), bandwidth, hierarchical=hierarchical)
        step, sent = gain.step, gain.full_bytes / gain.volume
    seconds = compute if step is None else step
    return Estimate(
        steps=steps(job, samples),
        seconds_per_step=seconds,
        samples_per_second=train.global_batch / seconds,
        communication=None if step is None else 1 - compute / step,
        sending=None if bandwidth is None else sent / bandwidth,
        compression=gain,
        memory=memory(job, sizes, samples, nodes, ranks, train.micro_batch),
        gpu_memory=_bytes(gpu),
        micro_batches=tuple(_fitting(job, sizes, samples, gpu, nodes, ranks)),
    )


def memory(job: Job, sizes: Sizes, samples: Samples, nodes: int, ranks: int, micro_batch: int) -> Memory:
    """What a rank keeps with a micro batch."""
    own = _own_half(job)
    zero = (job.deepspeed.get("zero_optimization") or {}) if job.backend == "deepspeed" else {}
    offloaded = {part for part in ("optimizer", "param") if zero.get(f"offload_{part}", {}).get("device") == "cpu"}
    activations = activation_bytes(
        sizes,
        micro_batch * samples.tokens,
        job.precision == "fp32",
        micro_batch * samples.masked,
        checkpointed=job.model.activation_checkpointing,
    )
    inside = ranks // nodes if job.optimizer.onebit.hierarchical else 1
    row = OPTIMIZERS[job.optimizer.name]
    state = state_bytes(sizes, ranks, zero.get("stage", 0), own, offloaded, moments=row.moments)
    if row.one_bit is not None and ranks > inside:
        state += compression_bytes(sizes, row.one_bit, ranks, inside)
    return Memory(state, activations)


def _own_half(job: Job) -> bool:
    """Whether DeepSpeed's own fp16 or bf16 keeps weights and gradients in half precision."""
    return job.backend == "deepspeed" and enabled_precision(job.deepspeed) in ("fp16", "bf16")


def _fitting(job: Job, sizes: Sizes, samples: Samples, gpu: Gpu, nodes: int, ranks: int) -> Iterator[int]:
    for micro_batch in divisors(job.train.global_batch // ranks):
        if memory(job, sizes, samples, nodes, ranks, micro_batch).total <= _bytes(gpu):
            yield micro_batch


def _rate(job: Job, gpu: Gpu) -> float:
    """Operations a second at the peak, in the job's precision."""
    wanted = "fp32" if job.precision == "fp32" else "half"
    teraflops = gpu.tflops_fp32 if wanted == "fp32" else gpu.tflops
    if not teraflops:
        key = "gpu.tflops_fp32" if wanted == "fp32" else "gpu.tflops"
        raise SpecError(f"the site does not say how fast its GPUs are: set {key}")
    return teraflops * 1e12


def _bytes(gpu: Gpu) -> float:
    if gpu.memory_gib is None:
        raise SpecError("the site does not say how much memory its GPUs have: set gpu.memory_gib")
    return gpu.memory_gib * 2**30


def steps(job: Job, samples: Samples) -> int | None:
    """Optimizer steps of a job; None where neither the job nor its data say it."""
    train = job.train
    if samples.count is None:
        return train.max_steps
    return total_steps(samples.count, train.epochs, train.global_batch, train.max_steps)
