"""The job's ``deepspeed:`` section, checked before the job is queued.

DeepSpeed accepts most unknown top-level keys without a word, and what it does reject it rejects on the compute nodes.
So the names it reads (those of 0.19) are listed here, sorted by what a job may say: passed on, said elsewhere in the
job, not what this training does, or gone from DeepSpeed.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bertjob.config.job import Precision
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.errors import SpecError
from bertjob.text import did_you_mean

PASSED_ON = frozenset(
    {
        "activation_checkpointing",
        "aio",
        "bf16",
        "checkpoint",
        "comet",
        "comms_logger",
        "communication_data_type",
        "csv_monitor",
        "data_types",
        "disable_allgather",
        "disable_python_gc",
        "dump_state",
        "flops_profiler",
        "fp16",
        "gradient_predivide_factor",
        "log_level",
        "memory_breakdown",
        "prescale_gradients",
        "steps_per_print",
        "tensorboard",
        "timers",
        "torch_autocast",
        "wall_clock_breakdown",
        "wandb",
        "zero_allow_untested_optimizer",
        "zero_force_ds_cpu_optimizer",
        "zero_optimization",
    }
)
"""Top-level keys that go to DeepSpeed as they are."""

SAID_BY_THE_JOB = {
    "train_batch_size": "train.global_batch",
    "train_micro_batch_size_per_gpu": "train.micro_batch",
    "gradient_accumulation_steps": "train.global_batch and train.micro_batch",
    "managed_gradient_accumulation": "train.global_batch and train.micro_batch",
    "gradient_allreduce_op": "train.global_batch: gradients are averaged over it",
    "optimizer": "optimizer.name, optimizer.lr, …",
    "scheduler": "schedule.name and schedule.warmup_proportion",
    "gradient_clipping": "optimizer.max_grad_norm",
    "max_grad_norm": "optimizer.max_grad_norm",
    "bfloat16": "bf16, as DeepSpeed calls it now",
}
"""Top-level keys that would contradict the job, and the job's own key."""

NOT_DONE_HERE = frozenset(
    {
        "autotuning",
        "compile",
        "data_efficiency",
        "data_parallel_size",
        "dataloader_drop_last",
        "datastates_ckpt",
        "expert_parallel",
        "hybrid_engine",
        "pipeline",
        "seq_parallel_communication_data_type",
        "sequence_parallel_size",
        "tensor_parallel",
        "use_data_before_expert_parallelism",
        "vocabulary_size",
        "weight_quantization",
    }
)
"""Top-level keys of DeepSpeed's other uses: inference, model parallelism, its own data loader."""

REMOVED = frozenset(
    {
        "amp",
        "compression_training",
        "curriculum_learning",
        "eigenvalue",
        "elasticity",
        "graph_harvesting",
        "nebula",
        "progressive_layer_drop",
        "quantize_training",
        "sparse_attention",
        "sparse_gradients",
    }
)
"""Top-level keys that DeepSpeed has dropped."""

_STAGE_3 = {
    "allgather_sequential",
    "gather_16bit_weights_on_model_save",
    "max_live_parameters",
    "max_reuse_distance",
    "model_persistence_threshold",
    "module_granularity_threshold",
    "param_persistence_threshold",
    "prefetch_bucket_size",
    "use_all_reduce_for_fetch_params",
}
SECTIONS: Mapping[str, frozenset[str]] = {
    "zero_optimization": frozenset(
        {
            "allgather_bucket_size",
            "allgather_partitions",
            "compute_grad_norm",
            "contiguous_gradients",
            "elastic_checkpoint",
            "enable_sanity_checks",
            "ignore_unused_parameters",
            "leaf_module",
            "load_from_fp32_weights",
            "log_trace_cache_warnings",
            "memory_efficient_linear",
            "offload_optimizer",
            "offload_param",
            "overlap_comm",
            "override_module_apply",
            "parameter_alignment",
            "pipeline_loading_checkpoint",
            "reduce_bucket_size",
            "reduce_scatter",
            "round_robin_gradients",
            "stage",
            "sub_group_size",
            "use_multi_rank_bucket_allreduce",
            "zero_hpz_partition_size",
            "zero_quantized_gradients",
            "zero_quantized_nontrainable_weights",
            "zero_quantized_weights",
        }
        | _STAGE_3
        | {f"stage3_{name}" for name in _STAGE_3}
    ),
    "zero_optimization.offload_optimizer": frozenset(
        {"buffer_count", "device", "fast_init", "nvme_path", "pin_memory", "pipeline_read", "pipeline_write", "ratio"}
    ),
    "zero_optimization.offload_param": frozenset(
        {"buffer_count", "buffer_size", "device", "max_in_cpu", "nvme_path", "pin_memory"}
    ),
    "fp16": frozenset(
        {
            "auto_cast",
            "consecutive_hysteresis",
            "enabled",
            "fp16_master_weights_and_grads",
            "hysteresis",
            "initial_scale_power",
            "loss_scale",
            "loss_scale_window",
            "min_loss_scale",
        }
    ),
    "bf16": frozenset(
        {
            "bf16_master_weights_and_grads",
            "bf16_optimizer_states",
            "check_grad_overflow",
            "enabled",
            "immediate_grad_update",
        }
    ),
    "torch_autocast": frozenset({"dtype", "enabled", "lower_precision_safe_modules"}),
}
"""Keys of the parts that are checked key by key."""
_OFFLOAD_STAGES = {"offload_optimizer": (1, 2, 3), "offload_param": (3,)}
_PRECISIONS = {"fp16": ("fp16",), "bf16": ("bf16",), "torch_autocast": ("fp16", "bf16")}
"""DeepSpeed's ways to compute in half precision, and which `precision` of the job each may go with."""


def check_deepspeed(section: Mapping[str, Any], precision: Precision = "auto", *, one_bit: bool = False) -> None:
    """Refuse what DeepSpeed would ignore, or would refuse only on the compute nodes.

    Args:
        section: the job's ``deepspeed:``.
        precision: the job's ``precision``, which must not contradict the section's.
        one_bit: whether the job's optimizer is a 1-bit one, for which bertjob scales the loss itself.

    Raises:
        SpecError: an unknown key (names the nearest), one that the job says elsewhere (names where), one that
            DeepSpeed has dropped, or values that do not go together.
    """
    for key in section:
        _check_top_level(key)
    for path, known in SECTIONS.items():
        for key in _part(section, path):
            if key not in known:
                raise _unknown(f"deepspeed.{path}", key, known)
    if _part(section, "checkpoint").get("load_universal"):
        # runtime/base_optimizer.py and checkpoint/universal_checkpoint.py of 0.19.8: torch.load(…, weights_only=False)
        raise SpecError("deepspeed.checkpoint.load_universal: DeepSpeed runs code in such files; leave it out")
    _check_zero(section)
    _check_precision(section, precision, one_bit=one_bit)


def enabled_precision(section: Mapping[str, Any]) -> str | None:
    """The part among fp16, bf16 and torch_autocast that a checked section switches on, or None."""
    return next(iter(_enabled(section)), None)


def cuts_tensors(section: Mapping[str, Any], optimizer: str) -> str | None:
    """What is wrong with an optimizer that needs whole tensors of its own rank, if ZeRO gives it slices of averages.

    Args:
        section: the job's ``deepspeed:``, checked.
        optimizer: the job's ``optimizer.name``.
    """
    stage = (section.get("zero_optimization") or {}).get("stage", 0)
    own = enabled_precision(section)
    row = OPTIMIZERS[optimizer]
    if not (row.whole_tensors or row.one_bit) or (stage == 0 and own not in ("fp16", "bf16")):
        return None
    cause = f"deepspeed.zero_optimization stage {stage}" if stage else f"DeepSpeed's {own}, which needs ZeRO 1,"
    if row.one_bit:
        why = f"compresses each rank's own momentum, and {cause} leaves it one slice of averages in full precision"
        return f"optimizer {optimizer} {why}: say ZeRO stage 0, and precision alone for fp16 or bf16"
    remedy = "say backend torch, or ZeRO stage 0"
    return f"optimizer {optimizer} takes the norm of each tensor, and {cause} cuts them: {remedy}"


def _check_top_level(key: str) -> None:
    if key in PASSED_ON:
        return
    if key in SAID_BY_THE_JOB:
        raise SpecError(f"deepspeed.{key} would contradict the job: say {SAID_BY_THE_JOB[key]}")
    if key in REMOVED:
        raise SpecError(f"deepspeed.{key}: DeepSpeed has removed it; leave it out")
    if key in NOT_DONE_HERE:
        raise SpecError(f"deepspeed.{key}: this training does not use that part of DeepSpeed; leave it out")
    raise _unknown("deepspeed", key, PASSED_ON)


def _check_zero(section: Mapping[str, Any]) -> None:
    stage = _part(section, "zero_optimization").get("stage", 0)
    if stage not in (0, 1, 2, 3) or isinstance(stage, bool):
        raise SpecError(f"deepspeed.zero_optimization.stage is {stage!r}; the stages of ZeRO are 0, 1, 2 and 3")
    for key, stages in _OFFLOAD_STAGES.items():
        path = f"zero_optimization.{key}"
        device = _part(section, path).get("device", "none")
        if device not in ("none", "cpu"):
            raise SpecError(f"deepspeed.{path}.device is {device!r}; this training offloads to 'cpu', or 'none'")
        if device == "cpu" and stage not in stages:
            raise SpecError(f"deepspeed.{path} needs stage {' or '.join(map(str, stages))}, not {stage}")


def _check_precision(section: Mapping[str, Any], precision: Precision, *, one_bit: bool) -> None:
    enabled = _enabled(section)
    if len(enabled) > 1:
        raise SpecError(f"deepspeed.{enabled[0]} and deepspeed.{enabled[1]} are both enabled: choose one")
    if enabled and precision not in ("auto", *_PRECISIONS[enabled[0]]):
        raise SpecError(f"deepspeed.{enabled[0]} is enabled, but precision is {precision}: say it in one place")
    half = enabled[0] if enabled else precision
    by_deepspeed = (half == "fp16" and not one_bit) or enabled == ["bf16"]
    if by_deepspeed and _part(section, "zero_optimization").get("stage") == 0:
        # There DeepSpeed's optimizer divides the gradients by a loss scale that its engine has not multiplied in.
        raise SpecError(f"deepspeed.zero_optimization.stage is 0, but {half} needs 1, 2 or 3: leave it out for 1")


def _enabled(section: Mapping[str, Any]) -> list[str]:
    return [name for name in _PRECISIONS if _part(section, name).get("enabled")]


def _part(section: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """The part of the section at a dotted path; empty where there is none."""
    for name in path.split("."):
        part = section.get(name, {})
        if not isinstance(part, Mapping):
            raise SpecError(f"deepspeed.{path} is {part!r}; it must be a mapping of keys")
        section = part
    return section


def _unknown(place: str, key: object, known: Iterable[str]) -> SpecError:
    return SpecError(f"{place}.{key} is no key of DeepSpeed's config; {did_you_mean(str(key), known)}")
