"""Whether a job has GPUs, for engines that show none untold."""

from typing import Literal

from bertjob.launch.engines import ENGINES, Container
from bertjob.lint.bash.sbatch_script import Script
from bertjob.lint.steps import Start, settings

SHOWN_UNTOLD = frozenset({"sarus", "shifter"})
"""Engines that look for the GPUs of a job themselves."""
_COUNTED = frozenset(
    {
        *("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "cpus-per-gpu", "mem-per-gpu"),
        *("ntasks-per-gpu", "gpu-bind", "gpu-freq"),
    }
)
_NAMED = frozenset({"gres", "tres-per-task", "constraint", "partition"})
"""Options of Slurm whose value may name GPUs."""
_VARIABLES = {
    "CUDA_VISIBLE_DEVICES": "nvidia",
    "GPU_DEVICE_ORDINAL": "amd",
    "HIP_VISIBLE_DEVICES": "amd",
    "ROCR_VISIBLE_DEVICES": "amd",
}
_NO_DEVICES = frozenset({"", "-1", "NoDevFiles"})


def asked(script: Script, start: Start) -> Literal["", "nvidia", "amd"]:
    """The maker of the GPUs that a command has by its script: by #SBATCH, its srun, or a variable; empty for none.

    NVIDIA is taken for the maker where nothing names AMD.
    """
    srun = start.layer("srun")
    options = [(directive.long or "", directive.value or "") for directive in script.directives]
    options += [(one.name[2:], one.value.value if one.value else "") for one in (srun.options if srun else ())]
    makers = {
        _VARIABLES[name] for name, value, _ in settings(script) if name in _VARIABLES and value not in _NO_DEVICES
    }
    if "amd" in makers:
        return "amd"
    return "nvidia" if makers or any(_asks(name, value) for name, value in options) else ""


def options(engine: str) -> str:
    """What makes an engine show GPUs; empty where it shows them untold."""
    row = ENGINES[engine]
    if row.gpu_environment:
        return "export " + " ".join(f"{name}={value}" for name, value in row.gpu_environment.items())
    without, told = (row.command(Container("", (), "", "", gpus=count)) for count in (0, 1))
    added = [str(word) for word in told if word not in without]
    return f"add {' '.join(added)} to {engine}" if added else ""


def _asks(name: str, value: str) -> bool:
    return (name in _COUNTED and value != "0") or (name in _NAMED and "gpu" in value.lower())
