"""Random numbers that do not depend on how many ranks there are, nor on where a run was resumed."""

import hashlib
import random
from typing import Any

import numpy as np
import torch


def micro_batch_seed(seed: int, step: int, index: int) -> int:
    """The seed of one micro batch's dropout.

    Args:
        seed: the job's seed.
        step: optimizer step, from 0.
        index: position of the micro batch in the step's global order, from 0.
    """
    name = f"{seed} {step} {index}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1  # torch takes 63 bits


def seed_micro_batch(seed: int, step: int, index: int) -> None:
    """Seed torch, on the CPU and on all GPUs, for the forward pass of one micro batch."""
    torch.manual_seed(micro_batch_seed(seed, step, index))


def rng_states() -> dict[str, Any]:
    """The states of all generators of this process, as values that torch.save can write and weights_only can read."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def restore_rng_states(states: dict[str, Any]) -> None:
    """Put back what `rng_states` returned; a GPU's state is left alone where there was none."""
    random.setstate(states["python"])
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
