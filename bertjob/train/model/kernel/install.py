"""Put DeepSpeed's transformer kernel in the place of a model's layers, with their weights and names."""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

from bertjob.config.checks.kernel import Flags, memory_flags, too_large
from bertjob.config.job import Job
from bertjob.errors import SpecError
from bertjob.rundir.world import World
from bertjob.train.deepspeed_ops import load_operator
from bertjob.train.device import resolve
from bertjob.train.model.kernel.weights import to_kernel
from bertjob.train.model.networks import FAMILIES

MULTIPLE = 16
"""The kernel takes rows of a multiple of so many tokens."""
_MASKED = -10000.0
"""Added to the scores of padding: the kernel's own number, which fp16 holds."""


class KernelEncoder(nn.Module):
    """Takes what transformers hands to its encoder, and calls layers that are like DeepSpeedTransformerLayer.

    Weights may be wider than `dtype`, as under autocast: each call casts them, and gradients come back as wide.
    """

    def __init__(self, layers: Sequence[nn.Module], dtype: torch.dtype) -> None:
        """Of these layers, which compute in `dtype`."""
        super().__init__()
        self.layer = nn.ModuleList(layers)
        self._dtype = dtype

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **others: Any) -> Output:
        """All layers.

        Args:
            hidden_states: ``[B, L, h]``.
            attention_mask: bool ``[B, 1, L, L]``, True where a token may look, the same for all that look; or None,
                where there is no padding.
            others: what transformers hands to any encoder.

        Raises:
            SpecError: the batch is a packed row.
        """
        if others.get("segments") is not None:
            raise SpecError("model.kernel takes samples in rows of their own: say train.batching padded or pools")
        batch, length = hidden_states.shape[:2]
        padding = -length % MULTIPLE
        seen = hidden_states.new_ones(batch, 1, 1, length, dtype=torch.bool)
        if attention_mask is not None:
            seen = attention_mask[:, :, :1, :]
        # As zeros, once for all layers: the kernel itself would fill each layer's row up with random numbers.
        mask = torch.zeros(batch, 1, 1, length + padding, dtype=self._dtype, device=hidden_states.device)
        mask.masked_fill_(~functional.pad(seen, (0, padding)), _MASKED)
        rows = functional.pad(hidden_states.to(self._dtype), (0, 0, 0, padding))
        for layer in self.layer:
            rows = self._call(layer, rows, mask)
        return Output(last_hidden_state=rows[:, :length])

    def _call(self, layer: nn.Module, rows: Tensor, mask: Tensor) -> Tensor:
        weights = dict(layer.named_parameters())
        if all(weight.dtype == self._dtype for weight in weights.values()):
            called: Tensor = layer(rows, mask)  # also under ZeRO 3, which brings the weights when it is called
            return called
        narrow = {name: weight.to(self._dtype) for name, weight in weights.items()}
        found: Tensor = torch.func.functional_call(layer, narrow, (rows, mask))
        return found


_LOG = logging.getLogger(__name__)
_WANTED_BY = "model.kernel.enabled"
_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def install(model: nn.Module, job: Job, world: World, device: torch.device) -> Flags | None:
    """Replace the layers of a transformers model by the kernel's; does nothing where the job does not ask for it.

    Its dropout draws from a generator of its own, which no checkpoint holds: a run that goes on is not bitwise the one
    that would have followed.

    Args:
        model: on the CPU, float32.
        job: the job.
        world: this rank's place.
        device: the GPU that this rank trains on, torch's current one.

    Returns:
        The kernel's memory flags; None without it.

    Raises:
        SpecError: the device or the precision is none that the kernel computes on.
        PreflightError: the kernel cannot be compiled or loaded here.
    """
    said = job.model.kernel
    if not said.enabled:
        return None
    if device.type != "cuda":
        raise SpecError(f"{_WANTED_BY} needs a GPU with CUDA, and this rank trains on a CPU: leave it out")
    precision = resolve(job.precision, device)
    if precision not in _DTYPES:
        raise SpecError(f"model.kernel computes in fp16 or fp32 alone, and precision is {precision}: say fp16")
    load_operator(_WANTED_BY, "StochasticTransformerBuilder" if said.stochastic else "TransformerBuilder")
    gib = torch.cuda.get_device_properties(device).total_memory / 2**30
    train = job.train
    flags = memory_flags(said, train.micro_batch, train.max_seq_length, gib)
    if world.rank == 0:
        _tell(job, flags, gib)
    kernel: Any = importlib.import_module("deepspeed.ops.transformer.transformer")
    config: Any = model.config

    def layer() -> nn.Module:
        settings = kernel.DeepSpeedTransformerConfig(**layer_settings(config, job, flags, world, precision == "fp16"))
        made: nn.Module = kernel.DeepSpeedTransformerLayer(settings)
        return made

    with _silent():
        replace_layers(model, layer, _DTYPES[precision])
    return flags


def layer_settings(config: Any, job: Job, flags: Flags, world: World, fp16: bool) -> dict[str, Any]:
    """What DeepSpeedTransformerConfig is told; each layer needs one of its own, which it numbers.

    Args:
        config: transformers' config of the model.
        job: the job.
        flags: of memory.
        world: this rank's place; ranks draw different dropout.
        fp16: or else fp32.
    """
    return {
        "batch_size": max(job.train.micro_batch, job.evaluation.micro_batch),
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "heads": config.num_attention_heads,
        "attn_dropout_ratio": config.attention_probs_dropout_prob,
        "hidden_dropout_ratio": config.hidden_dropout_prob,
        "num_hidden_layers": config.num_hidden_layers,
        "initializer_range": config.initializer_range,
        "layer_norm_eps": config.layer_norm_eps,
        "seed": (job.seed + world.rank) % 2**31,
        "fp16": fp16,
        "pre_layer_norm": FAMILIES[config.model_type].norm == "pre",
        "adjust_init_range": False,  # the weights are there already
        "stochastic_mode": job.model.kernel.stochastic,
        "normalize_invertible": flags.normalize_invertible,
        "attn_dropout_checkpoint": flags.attn_dropout_checkpoint,
        "gelu_checkpoint": flags.gelu_checkpoint,
    }


def replace_layers(model: nn.Module, layer: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    """Give a model an encoder of other layers with the weights of its own.

    Args:
        model: one of a type in networks.FAMILIES, without gradient checkpointing.
        layer: makes one with parameters in the kernel's layout.
        dtype: that they compute in.
    """
    untyped: Any = model
    inner = untyped.base_model
    norm = FAMILIES[untyped.config.model_type].norm
    encoder = KernelEncoder([layer() for _ in inner.encoder.layer], dtype)
    encoder.load_state_dict(to_kernel(inner.encoder.state_dict(), norm))
    inner.encoder = encoder


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Nothing of what is printed, by Python or by the kernel's C++: two lines a layer on every rank."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _tell(job: Job, flags: Flags, gib: float) -> None:
    chosen = [name for name in Flags.__struct_fields__ if getattr(flags, name)]
    mode = "stochastic" if job.model.kernel.stochastic else "deterministic"
    _LOG.info("DeepSpeed's transformer kernel, %s, memory flags: %s", mode, ", ".join(chosen) or "none")
    train = job.train
    if too_large(train.micro_batch, train.max_seq_length, gib):
        _LOG.warning(
            "train.micro_batch %d of %d tokens: by DeepSpeed's table BERT-large does not fit %.0f GiB with any flags",
            *(train.micro_batch, train.max_seq_length, gib),
        )
