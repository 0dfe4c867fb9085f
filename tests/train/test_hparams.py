"""hparams.json says what is in force, not only what was asked for."""

import pytest
import torch
from torch import nn

from bertjob.config.job import Data, Job
from bertjob.rundir.world import World
from bertjob.train.reporting.hparams import hparams

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("backend", "section", "said"),
    [
        ("torch", {}, "fp32"),
        ("deepspeed", {}, "fp32"),
        ("deepspeed", {"bf16": {"enabled": True}}, "bf16"),
        ("deepspeed", {"bf16": {"enabled": False}}, "fp32"),
    ],
)
def test_the_precision_is_the_one_in_force(backend, section, said):
    precision = "auto" if section.get("bf16", {}).get("enabled") else "fp32"
    job = Job(name="j", backend=backend, precision=precision, data=Data(train="demo"), deepspeed=section)
    values = hparams(job, World(0, 1, 0, 1, "test"), CPU, ["here, CPU"], 8, 10, nn.Linear(2, 2))
    assert values["precision"] == said
    assert (values["world_size"], values["accumulation"], values["parameters"]) == (1, 8, 6)
