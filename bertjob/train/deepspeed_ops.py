"""DeepSpeed's package, and those of its CUDA operators that a job asks for, compiled once on each node."""

import fcntl
import importlib
import os
import tempfile
from pathlib import Path
from typing import Any

import torch

from bertjob.errors import PreflightError, SpecError


def deepspeed_package(wanted_by: str, device: torch.device) -> Any:
    """DeepSpeed, imported for this device, with nothing that it would compile unasked.

    Args:
        wanted_by: the job's key and value that need it, for the message.
        device: this rank's.

    Raises:
        PreflightError: it is not installed.
    """
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(_caches() / "torch_extensions"))
    os.environ.setdefault("TRITON_CACHE_DIR", str(_caches() / "triton"))
    os.environ["DS_ACCELERATOR"] = device.type
    try:
        deepspeed: Any = importlib.import_module("deepspeed")
    except ModuleNotFoundError as error:
        raise PreflightError(f"{wanted_by}: {error}; pip install 'bertjob[train]', or leave it out") from error
    deepspeed.ops.__compatible_ops__ = {}  # no extension counts as available, so none is compiled
    return deepspeed


def load_operator(wanted_by: str, builder: str) -> None:
    """Load one of DeepSpeed's CUDA operators; where its wheel was built without, compile it, once on this node.

    Args:
        wanted_by: the job's key and value that need it, for the messages.
        builder: the name of its builder in deepspeed.ops.op_builder.

    Raises:
        SpecError: torch sees no GPU, or one without CUDA.
        PreflightError: DeepSpeed is not installed, or the operator cannot be compiled here; says what that takes.
    """
    if not torch.cuda.is_available() or torch.version.cuda is None:
        raise SpecError(f"{wanted_by} needs a GPU with CUDA, and torch {torch.__version__} sees none here")
    deepspeed_package(wanted_by, torch.device("cuda"))
    made = getattr(importlib.import_module("deepspeed.ops.op_builder"), builder)()
    folder = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / made.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{made.name}.bertjob").open("w") as turn:
        # Ranks take turns. Torch's own lock is a file that a killed process leaves behind, for which all others would
        # wait for ever; this one goes with its process, and whoever has it may remove that file.
        fcntl.flock(turn, fcntl.LOCK_EX)
        (folder / "lock").unlink(missing_ok=True)
        try:
            made.load(verbose=False)
        except Exception as error:  # of DeepSpeed, torch, ninja and nvcc
            line = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise PreflightError(
                f"{wanted_by}: DeepSpeed's operator {made.name} cannot be compiled here ({line}); it takes ninja, g++ "
                f"and the nvcc of CUDA {torch.version.cuda} (CUDA_HOME), as in NVIDIA's images"
            ) from error


def _caches() -> Path:
    """This node's own: a lock on a shared home hangs."""
    return Path(tempfile.gettempdir()) / f"bertjob-{os.getuid()}"
