"""Checks of what a job reads: its files, the model that it starts from, and data that its task cannot use."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from bertjob.config import bounded
from bertjob.config.checks import kernel
from bertjob.config.job import Job
from bertjob.config.registry.code import load_code
from bertjob.config.registry.tasks import TASKS, Input
from bertjob.errors import DataError, PreflightError
from bertjob.formats.corpus_splits import SPLITS, TRAIN
from bertjob.formats.pretrained import CONFIG, HUB, how_to_download, recognise
from bertjob.launch.argv import value
from bertjob.launch.container import binds
from bertjob.launch.plan import Plan
from bertjob.launch.problems import Problem
from bertjob.text import reason

_CACHES = {
    "HF_HUB_CACHE": "",
    "HF_HOME": "/hub",
    "XDG_CACHE_HOME": "/huggingface/hub",
    "HOME": "/.cache/huggingface/hub",
}
"""Variables that say where the hub's cache is, the strongest first, and its place below each."""


def check_inputs(inputs: Mapping[str, str], job: Job) -> None:
    """The files and folders that a plan needs are there and can be read.

    Args:
        inputs: paths by the key that names them (Plan.inputs).
        job: what is to be trained.

    Raises:
        PreflightError: one is not; names key and path.
    """
    for key, path in inputs.items():
        complaint = _complaint(key, Path(path), job)
        if complaint:
            raise PreflightError(f"{key}: {path}: {complaint}")


def check_kernel(plan: Plan) -> None:
    """The model that a plan starts from was trained with the layers that the job says, where it says so itself.

    Raises:
        PreflightError: it was not.
    """
    place = plan.inputs.get("model.init")
    found = recognise(Path(place), plan.job.model.ckpt_type) if place else ""
    if isinstance(found, str):
        return  # it comes later
    try:
        config = bounded.read_json(found.folder / CONFIG, bounded.CONFIG)
    except (OSError, ValueError):
        return  # it has none, or the training says what is wrong with it
    if isinstance(config, dict) and (wrong := kernel.mismatch(plan.job.model.kernel, config, place)):
        raise PreflightError(f"model.init: {wrong}")


def hub_problem(plan: Plan) -> Problem | None:
    """What may stop a plan whose model is a name on the Hugging Face hub, and not in a cache that its ranks see.

    None where the site says that its nodes have internet, and where the job runs on this machine, which asks at once.
    """
    name = plan.job.model.init
    if name in ("random", "demo") or name.startswith("/") or not TASKS[plan.job.task].trains:
        return None
    if plan.site.internet or not plan.scheduler.queues or _cached(plan, name):
        return None
    what = f"model.init: {name}: is a name on the Hugging Face hub and not in its cache here"
    nodes = "has" if plan.site.internet is False else "may have"
    what = f"{what}, and site {plan.site.name} {nodes} no internet on its nodes"
    return Problem(what, how_to_download(name))


def _cached(plan: Plan, name: str) -> bool:
    """Whether the job will find a model of the hub in the hub's cache.

    Places: huggingface.co/docs/huggingface_hub/guides/manage-cache, and `constants.py` of huggingface_hub 1.
    """
    said = {variable: plan.environment.get(variable, os.environ.get(variable)) for variable in _CACHES}
    known = {variable: value(word, os.environ) for variable, word in said.items() if word}
    cache = next((f"{folder}{_CACHES[variable]}" for variable, folder in known.items() if folder), None)
    if cache is None or not _seen(plan, cache):
        return False
    snapshots = Path(cache, f"models--{name.replace('/', '--')}", "snapshots")
    return any(not isinstance(recognise(snapshot, HUB), str) for snapshot in sorted(snapshots.glob("*")))


def _seen(plan: Plan, folder: str) -> bool:
    """Whether the ranks see a folder of the host."""
    if plan.engine == "none":
        return True
    shown = binds(plan.job, plan.site, str(Path(plan.run_dir or "").parent), lambda path: ())
    sources = (value(bind.source, os.environ) for bind in shown)
    return any(source is not None and Path(folder).is_relative_to(source) for source in sources)


def _complaint(key: str, path: Path, job: Job) -> str:
    try:
        return _complaint_of_reachable(key, path, job)
    except OSError as error:  # pathlib takes only what is missing for an answer
        return words_of(error)


def words_of(error: OSError) -> str:
    """What a person is told of a file that cannot be read."""
    return "you may not read it" if isinstance(error, PermissionError) else reason(error).lower()


def _complaint_of_reachable(key: str, path: Path, job: Job) -> str:
    if key == "model.init" and (not path.exists() or os.access(path, os.R_OK)):
        found = recognise(path, job.model.ckpt_type)
        return found if isinstance(found, str) else ""
    read = TASKS[job.task].data.get(key.removeprefix("data.")) if key.startswith("data.") else None
    if not path.exists():
        return "there is no such file or folder" + (f"; {read.remedy}" if read else "")
    if not os.access(path, os.R_OK):
        return "you may not read it"
    if key in ("data.train", "data.dev") and path.is_dir():
        return "is a folder, a file is wanted"
    if key == "data.shards" and not path.is_dir():
        return "is a file, a folder is wanted"
    if key == "data.shards" and (path / SPLITS).is_file() and not (path / TRAIN / "state.json").is_file():
        found = ", ".join(sorted(part.parent.name for part in path.glob("*/state.json")))
        found = found or "none whole"
        return f"holds several data sets of `datasets` ({found}), and none is {TRAIN}: say the folder of one"
    return _unreadable(read, path) if read else ""


def _unreadable(read: Input, path: Path) -> str:
    """Why the task cannot use what is there; empty where it can."""
    try:
        cast("Callable[[Path], object]", load_code(read.check))(path)
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return ""
