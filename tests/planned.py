"""Jobs, sites and their scripts as the tests of scripts want them."""

from typing import Any

import msgspec

from bertjob.config.job import Data, Job, Model, Resources, Train
from bertjob.config.site import Site
from bertjob.launch.plan import Here, plan
from bertjob.launch.script import script

HERE = Here(python="/venv/bin/python", cwd="/home/me")
SLURM = Site(name="slurm", defaults=Resources(time="1:00:00", gpus_per_node=1))
LOCAL = Site(name="local", scheduler="none", launcher="local")
SMALL: dict[str, Any] = {
    "data": Data(train="demo"),
    "model": Model(init="demo"),
    "train": Train(global_batch=4, micro_batch=1),
}
"""What a job must say beside its name."""
HOSTILE = ["a'; echo foo", "$(touch x)", "`touch x`", 'say "hi"', "sp  ace", "100% %j", "ü#!", "-rf"]


def made(site: Site = SLURM, run_dir: str | None = None, here: Here = HERE, **keys: Any) -> str:
    return script(plan(Job(name="j", **SMALL | keys), site, run_dir, here))


def with_(site: Site, **keys: Any) -> Site:
    return msgspec.structs.replace(site, **keys)
