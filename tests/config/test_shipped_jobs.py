"""The jobs that follow published recipes say their figures, and the arithmetic in their comments comes out."""

import math

import pytest

from bertjob.config.checks import batch_size
from bertjob.config.job import Job, Kernel
from bertjob.config.load import load_job


def job(name: str) -> Job:
    return load_job(name, ()).value


TABLE = {
    "global_batch": (16384, 16384),
    "micro_batch": (64, 8),
    "lr": (4e-3, 1e-3),
    "trust": ((0.08, 0.5), (0.08, 0.5)),
    "warmup_proportion": (0.02, 0.01),
    "decay_rate": (0.90, 0.70),
    "decay_steps": (1000, 1000),
    "total_steps": (187000, 18700),
    "max_steps": (24430, 2089),
    "max_seq_length": (128, 512),
}
"""DeepSpeed's tutorial "BERT Pre-training": its last table, columns 128 and 512."""


@pytest.mark.parametrize(("name", "column"), [("pretrain-seq128", 0), ("pretrain-seq512", 1)])
def test_the_16k_jobs_are_the_table_of_the_tutorial(name, column):
    made = job(name)
    said = {
        key: getattr(part, key)
        for part in (made.train, made.optimizer, made.schedule)
        for key in part.__struct_fields__
    }
    assert {key: said[key] for key in TABLE} == {key: columns[column] for key, columns in TABLE.items()}
    assert (made.optimizer.name, made.schedule.name) == ("lamb", "exponential")


def test_the_checkpoints_of_the_16k_jobs_are_numbered_as_in_the_table():
    """150 in the first phase; the second, which starts from number 150 with a new warm-up, ends with number 162."""
    phases = [job("pretrain-seq128"), job("pretrain-seq512")]
    made = [math.ceil(phase.train.max_steps / phase.checkpoint.every_steps) for phase in phases]
    assert (made[0], sum(made)) == (150, 162)
    assert phases[1].model.init == "run:pretrain-seq128"


def test_the_64k_and_32k_jobs_are_those_of_bing_bert():
    first, second = job("pretrain-64k-seq128"), job("pretrain-32k-seq512")
    assert [(made.train.global_batch, made.train.micro_batch) for made in (first, second)] == [(65536, 64), (32768, 16)]
    assert [(made.optimizer.lr, made.optimizer.trust) for made in (first, second)] == [
        (11e-3, (0.01, 0.3)),
        (2e-3, (0.01, 0.3)),
    ]
    shapes = [
        (made.schedule.warmup_proportion, made.schedule.decay_rate, made.schedule.decay_steps, made.schedule.offset)
        for made in (first, second)
    ]
    assert shapes == [(0.06, 0.90, 250, 1e-3), (0.02, 0.90, 150, 0.0)]
    assert {
        (made.schedule.name, made.schedule.warmup_power, made.schedule.total_steps) for made in (first, second)
    } == {("exponential", 2.0, 7500)}
    assert second.model.init == "run:pretrain-64k-seq128"


def test_the_adam_job_is_the_tutorials_json():
    made = job("pretrain-adam-seq128")
    assert (made.train.global_batch, made.train.micro_batch) == (4096, 64)
    assert (made.optimizer.name, made.optimizer.lr, made.optimizer.weight_decay) == ("adamw", 2e-4, 0.01)
    assert made.optimizer.max_grad_norm == 1.0


@pytest.mark.parametrize(
    ("name", "ranks", "accumulation"),
    [
        ("pretrain-seq128", 64, 4),
        ("pretrain-seq128", 256, 1),
        ("pretrain-seq512", 64, 32),
        ("pretrain-64k-seq128", 64, 16),
        ("pretrain-64k-seq128", 1024, 1),
        ("pretrain-32k-seq512", 64, 32),
        ("pretrain-32k-seq512", 1024, 2),
        ("pretrain-adam-seq128", 16, 4),
        ("pretrain-adam-seq128", 64, 1),
    ],
)
def test_batches_come_out_even_as_the_comments_say(name, ranks, accumulation):
    train = job(name).train
    assert batch_size.solve(train.global_batch, train.micro_batch, ranks) == accumulation


def test_the_job_with_the_kernel_is_the_tutorials_table():
    made = job("squad-kernel")
    assert (made.train.global_batch, made.train.micro_batch, made.train.epochs) == (24, 3, 2)
    assert (made.optimizer.name, made.optimizer.lr, made.optimizer.weight_decay) == ("adamw", 4e-5, 0.0)
    assert (made.train.max_seq_length, made.model.dropout) == (384, 0.1)
    assert made.model.kernel == Kernel(enabled=True)
