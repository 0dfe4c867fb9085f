"""DeepSpeed's transformer kernel: which of its memory flags a training needs, and what it does not go together with.

Source: DeepSpeed's tutorials "1-bit Adam" (table 4: flags by micro batch, BERT-large on SQuAD, V100), "BingBertSquad"
(dropout; on in fine-tuning if and only if on in pre-training) and "DeepSpeed Transformer Kernel".
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bertjob.config.checks.deepspeed_config import enabled_precision
from bertjob.config.job import Job, Kernel
from bertjob.config.registry.tasks import TASKS

MARK = "bertjob"
"""The key of a saved model's config.json below which bertjob says how it was trained."""
_TOKENS = 384
"""Of a sample, where the table was measured."""
_LARGE_GIB = 30.0
"""A "32 GB" GPU has somewhat less; one with less than this goes by the table's column for 16 GB."""
_TABLE: Mapping[int, tuple[tuple[int, tuple[str, ...]], ...]] = {
    16: ((4, ("normalize_invertible",)), (6, ("attn_dropout_checkpoint", "gelu_checkpoint"))),
    32: ((12, ("normalize_invertible", "attn_dropout_checkpoint")), (24, ("gelu_checkpoint",))),
}
"""By memory in GB: above so many samples a micro batch, these flags as well."""
_OUT_OF_MEMORY = 12
"""Samples a micro batch, above which nothing helps on 16 GB."""


class Flags(msgspec.Struct, frozen=True):
    """What the kernel computes again in the backward pass, instead of keeping it."""

    normalize_invertible: bool
    attn_dropout_checkpoint: bool
    gelu_checkpoint: bool


def memory_flags(kernel: Kernel, micro_batch: int, tokens: int, gib: float) -> Flags:
    """The flags that a job says, and by the table those that it leaves to ``auto``.

    Args:
        kernel: the job's section.
        micro_batch: samples that a rank takes at once.
        tokens: of a padded sample; the table's samples have 384, so others count in proportion.
        gib: memory of the GPU; one with more than 32 GB goes by that column, which costs time and never memory.
    """
    column = _TABLE[32 if gib >= _LARGE_GIB else 16]
    needed = {flag for above, flags in column if _samples(micro_batch, tokens) > above for flag in flags}
    said = {name: getattr(kernel, name) for name in Flags.__struct_fields__}
    return Flags(**{name: name in needed if value == "auto" else value for name, value in said.items()})


def too_large(micro_batch: int, tokens: int, gib: float) -> bool:
    """Whether a micro batch of BERT-large does not fit by the table, whatever the flags."""
    return gib < _LARGE_GIB and _samples(micro_batch, tokens) > _OUT_OF_MEMORY


def problems(job: Job) -> Iterator[str]:
    """What the kernel does not go together with in a job, one line each; whether there are GPUs is asked elsewhere."""
    kernel = job.model.kernel
    if not kernel.enabled:
        if kernel != Kernel():
            yield "model.kernel: nothing of it is read without model.kernel.enabled"
        return
    if job.precision not in ("fp16", "fp32"):
        yield f"model.kernel computes in fp16 or fp32 alone, and precision is {job.precision}: say fp16"
    if job.backend == "deepspeed" and (own := enabled_precision(job.deepspeed)) not in (None, "fp16"):
        yield f"model.kernel computes in fp16 or fp32 alone, and deepspeed.{own} is enabled: leave it out"
    if job.train.batching == "packed":
        yield "model.kernel takes samples in rows of their own, and train.batching is packed: say padded or pools"
    if job.model.activation_checkpointing:
        yield "model.kernel has no model.activation_checkpointing: leave it out, for the kernel's own memory flags"


def advice(job: Job) -> Iterator[str]:
    """What works, but is not what the kernel's makers do."""
    if job.model.kernel.enabled and job.model.kernel.stochastic and TASKS[job.task].fine_tunes:
        yield (
            "model.kernel.stochastic: two runs will differ; it is meant for pre-training, and fine-tuning after it is "
            "deterministic with model.dropout 0.12 to 0.14"
        )


def dropout_advice(job: Job, config: Mapping[str, Any]) -> str | None:
    """What to say of the dropout of a fine-tuning, by the config.json of the model that it starts from."""
    stochastic = _trained_with(config) == "stochastic"
    if not (stochastic and TASKS[job.task].fine_tunes and job.model.dropout < 0.12):
        return None
    return (
        f"{job.model.init} was trained in the kernel's stochastic mode: model.dropout 0.12 to 0.14 makes up for the "
        f"noise that is missing now, and it is {job.model.dropout}"
    )


def mark(kernel: Kernel) -> dict[str, str]:
    """What config.json of a trained model says below `MARK`: with which layers its weights were trained."""
    return {"kernel": ("stochastic" if kernel.stochastic else "deterministic") if kernel.enabled else "off"}


def mismatch(kernel: Kernel, config: Mapping[str, Any], place: object) -> str | None:
    """What is wrong where a training goes on with other layers than the model was trained with.

    Args:
        kernel: the job's section.
        config: config.json of the model that the job starts from; one that bertjob has not written says nothing, and
            may go on either way.
        place: its folder, or the job that trains it, for the message.
    """
    before = _trained_with(config)
    if before is None or (before != "off") == kernel.enabled:
        return None
    has, wanted = ("without", "false") if kernel.enabled else ("with", "true")
    return (
        f"the model of {place} is trained {has} DeepSpeed's transformer kernel, which computes another GELU: "
        f"say model.kernel.enabled: {wanted}"
    )


def _trained_with(config: Mapping[str, Any]) -> str | None:
    own = config.get(MARK)
    return own.get("kernel") if isinstance(own, Mapping) else None


def _samples(micro_batch: int, tokens: int) -> float:
    """Samples of the table's length with as many tokens."""
    return micro_batch * tokens / _TOKENS
