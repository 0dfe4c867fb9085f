"""The rows of the optimizers are true, and one more row is all that a new optimizer takes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import backend_ranks
import msgspec
import pytest
import torch
from planned import SLURM, made, with_
from torch import nn
from toy_optimizer import NAME, ROW

from bertjob.config.checks.deepspeed_config import cuts_tensors
from bertjob.config.job import Job, OneBit, Optimizer, Resources, Train
from bertjob.config.load import dump
from bertjob.config.registry.code import load_code
from bertjob.config.registry.optimizers import OPTIMIZERS, one_bit_names
from bertjob.config.site import Gpu
from bertjob.errors import SpecError
from bertjob.estimate.estimate import estimate
from bertjob.estimate.model_size import KNOWN, parameters
from bertjob.estimate.sample_counts import Samples
from bertjob.train.optim.factory import gauges, make_optimizer

LARGE = KNOWN["bert-large-uncased"]
GPU = Gpu(name="A100", memory_gib=40, tflops=312, tflops_fp32=19.5)
BATCH = Train(global_batch=8, micro_batch=1, max_steps=100)


def test_jobs_may_name_the_optimizers_of_the_table_and_no_others():
    assert list(get_args(get_type_hints(Optimizer)["name"])) == list(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_code_that_a_row_names_is_there(name):
    row = OPTIMIZERS[name]
    named = [row.make] if row.one_bit is None else [row.make, row.one_bit.rounds]
    assert all(callable(load_code(reference)) for reference in named)


@pytest.mark.parametrize("name", [name for name, row in OPTIMIZERS.items() if not row.needs_gpu])
def test_an_optimizer_keeps_as_much_for_each_parameter_as_its_row_says(name):
    layer = nn.Linear(30, 20, bias=False)
    optimizer = make_optimizer(layer, Optimizer(name=name, freeze_step=10))
    layer(torch.ones(30)).sum().backward()
    optimizer.step()
    kept = [tensor for tensor in optimizer.state[layer.weight].values() if tensor.shape == layer.weight.shape]
    assert len(kept) == OPTIMIZERS[name].moments


def test_keys_of_1_bit_optimizers_belong_to_all_of_them_or_are_keys_that_there_are():
    for name in one_bit_names():
        assert set(OPTIMIZERS[name].one_bit.own_keys) < set(OneBit.__struct_fields__)


@pytest.mark.parametrize("name", one_bit_names())
def test_a_1_bit_optimizer_says_itself_what_it_is_without_compression(name):
    optimizer = make_optimizer(nn.Linear(2, 2), Optimizer(name=name, freeze_step=2))
    assert optimizer.plain == OPTIMIZERS[name].label


def test_what_needs_a_gpu_names_an_optimizer_that_needs_none():
    (row,) = (row for row in OPTIMIZERS.values() if row.needs_gpu)
    assert not OPTIMIZERS[row.cpu_equivalent].needs_gpu


@pytest.fixture
def toy(monkeypatch) -> Optimizer:
    monkeypatch.setitem(OPTIMIZERS, NAME, ROW)
    return Optimizer(name=NAME, lr=0.01)


def test_a_job_with_a_new_optimizer_is_checked_planned_and_written_down(toy):
    job = Job(name="j", train=BATCH, optimizer=toy)
    assert "onebit" not in dump(job)
    assert "#SBATCH" in made(train=BATCH, optimizer=toy)
    with pytest.raises(SpecError, match=f"optimizer.freeze_step: {NAME} has no frozen stage"):
        made(train=BATCH, optimizer=Optimizer(name=NAME, freeze_step=3))
    with pytest.raises(SpecError, match=f"optimizer.onebit.check_every: {NAME} compresses nothing; these do: onebit"):
        made(train=BATCH, optimizer=Optimizer(name=NAME, onebit=OneBit(check_every=3)))
    assert cuts_tensors({"zero_optimization": {"stage": 2}}, NAME).startswith(f"optimizer {NAME} takes the norm")


def test_a_new_optimizer_that_needs_a_gpu_is_refused_on_cpus(monkeypatch):
    monkeypatch.setitem(OPTIMIZERS, NAME, msgspec.structs.replace(ROW, needs_gpu=True))
    cpus = with_(SLURM, defaults=Resources(time="1:00:00", gpus_per_node=0))
    with pytest.raises(SpecError, match=f"optimizer.name {NAME} needs GPUs, and resources.gpus_per_node is 0$"):
        made(cpus, train=BATCH, optimizer=Optimizer(name=NAME))


def test_a_new_optimizers_memory_is_estimated_by_its_row(toy):
    """Weights, gradients and one moment, float32."""
    job = Job(name="j", train=BATCH, optimizer=toy)
    assert estimate(job, LARGE, Samples(None, 128.0, 128.0**2), GPU, 1, 1, None).memory.state == 12 * parameters(LARGE)


def test_a_new_optimizer_is_made_and_reports(toy):
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, toy)
    assert gauges(optimizer) == {"moved": 0.0}
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    assert torch.allclose(layer.weight, before - 0.01)
    assert gauges(optimizer) == {"moved": 8.0}


@pytest.mark.slow
def test_a_new_optimizer_trains_with_both_back_ends_and_goes_on_from_their_checkpoints(tmp_path):
    (tmp_path / "vocab.txt").write_text("".join(f"token{number}\n" for number in range(100)))
    done = subprocess.run(
        [sys.executable, backend_ranks.__file__, tmp_path, "0", "1", *backend_ranks.TOY_WAYS],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    torch_s, deepspeed_s = json.loads(Path(tmp_path / "results-1.json").read_bytes()).values()
    for taken in (torch_s, deepspeed_s):
        assert taken["straight"][-1][0] < taken["straight"][0][0]
        assert taken["resumed"] == taken["straight"][backend_ranks.HALF :]
    assert [loss for loss, _ in torch_s["straight"]] == pytest.approx([loss for loss, _ in deepspeed_s["straight"]])
