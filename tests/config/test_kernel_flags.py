"""The section model.kernel: flags by DeepSpeed's table, what it does not go with, and what a model says of it."""

import msgspec
import pytest
from planned import HERE, SLURM

from bertjob.cluster.input_checks import check_kernel
from bertjob.config.checks.kernel import Flags, advice, dropout_advice, mark, memory_flags, mismatch, too_large
from bertjob.config.job import Job, Kernel, Model
from bertjob.config.load import load_job
from bertjob.errors import PreflightError, SpecError
from bertjob.launch.plan import Plan, plan
from bertjob.launch.problems import refuse_chain

ON = Kernel(enabled=True)


def planned(name: str, *settings: str) -> Plan:
    return plan(load_job(name, settings).value, SLURM, None, HERE)


NONE = Flags(normalize_invertible=False, attn_dropout_checkpoint=False, gelu_checkpoint=False)
ALL = Flags(normalize_invertible=True, attn_dropout_checkpoint=True, gelu_checkpoint=True)
NORMALIZE = Flags(normalize_invertible=True, attn_dropout_checkpoint=False, gelu_checkpoint=False)
NO_GELU = Flags(normalize_invertible=True, attn_dropout_checkpoint=True, gelu_checkpoint=False)


@pytest.mark.parametrize(
    ("micro_batch", "gib", "flags"),
    [
        (3, 15.8, NONE),
        (4, 15.8, NONE),
        (5, 15.8, NORMALIZE),
        (6, 15.8, NORMALIZE),
        (7, 15.8, ALL),
        (12, 15.8, ALL),
        (3, 31.7, NONE),
        (12, 31.7, NONE),
        (13, 31.7, NO_GELU),
        (24, 31.7, NO_GELU),
        (25, 31.7, ALL),
        (32, 31.7, ALL),
        (32, 139.8, ALL),
    ],
)
def test_flags_are_those_of_the_tutorials_table(micro_batch, gib, flags):
    assert memory_flags(ON, micro_batch, 384, gib) == flags


def test_other_lengths_count_by_their_tokens():
    assert memory_flags(ON, 36, 128, 31.7) == memory_flags(ON, 12, 384, 31.7) == NONE
    assert memory_flags(ON, 64, 128, 31.7) == NO_GELU


def test_what_the_job_says_wins_over_the_table():
    said = Kernel(enabled=True, normalize_invertible=False, gelu_checkpoint=True)
    assert memory_flags(said, 13, 384, 31.7) == Flags(
        normalize_invertible=False, attn_dropout_checkpoint=True, gelu_checkpoint=True
    )


@pytest.mark.parametrize(("micro_batch", "gib", "large"), [(12, 15.8, False), (13, 15.8, True), (64, 31.7, False)])
def test_what_does_not_fit_by_the_table_is_known(micro_batch, gib, large):
    assert too_large(micro_batch, 384, gib) == large


FITTING = {
    "model.kernel.enabled": "true",
    "precision": "fp16",
    "train.batching": "padded",
    "resources.gpus_per_node": "4",
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, []),
        ({"precision": "fp32", "train.batching": "pools"}, []),
        ({"resources.gpus_per_node": "0", "precision": "fp32"}, ["model.kernel needs GPUs", "on CPUs leave it out"]),
        ({"precision": "bf16"}, ["precision is bf16: say fp16"]),
        ({"precision": "auto"}, ["precision is auto: say fp16"]),
        ({"train.batching": "packed"}, ["train.batching is packed: say padded or pools"]),
        ({"model.activation_checkpointing": "true"}, ["no model.activation_checkpointing"]),
        (
            {"backend": "deepspeed", "precision": "auto", "deepspeed": "{bf16: {enabled: true}}"},
            ["deepspeed.bf16 is en"],
        ),
        ({"model.kernel.enabled": "false", "model.kernel.stochastic": "true"}, ["nothing of it is read without"]),
    ],
)
def test_what_it_does_not_go_together_with_is_refused_before_anything_is_queued(changes, words):
    settings = [f"{key}={value}" for key, value in (FITTING | changes).items()]
    if not words:
        assert planned("squad", *settings).job.model.kernel.enabled
        return
    with pytest.raises(SpecError) as refused:
        planned("squad", *settings)
    assert all(word in str(refused.value) for word in words)
    assert "\n" not in str(refused.value)


def test_fused_lamb_is_refused_without_gpus():
    with pytest.raises(SpecError, match=r"optimizer.name fused-lamb needs GPUs.*on CPUs say lamb"):
        planned("squad", "optimizer.name=fused-lamb", "resources.gpus_per_node=0")
    assert planned("squad", "optimizer.name=fused-lamb", "resources.gpus_per_node=4").job.optimizer.name == "fused-lamb"


def test_stochastic_fine_tuning_is_advised_against_and_pre_training_is_not():
    said = Model(kernel=Kernel(enabled=True, stochastic=True))
    assert ["two runs will differ" in line for line in advice(Job(name="x", model=said))] == [True]
    assert list(advice(Job(name="x", task="pretrain", model=said))) == []


def test_after_stochastic_pre_training_more_dropout_is_advised():
    stochastic = {"bertjob": mark(Kernel(enabled=True, stochastic=True))}
    job = Job(name="x", model=Model(init="run:a", kernel=ON))
    assert "0.12 to 0.14" in dropout_advice(job, stochastic)
    assert dropout_advice(job, {"bertjob": mark(ON)}) is None
    more = msgspec.structs.replace(job.model, dropout=0.13)
    assert dropout_advice(msgspec.structs.replace(job, model=more), stochastic) is None
    assert dropout_advice(msgspec.structs.replace(job, task="pretrain"), stochastic) is None


@pytest.mark.parametrize("before", [ON, Kernel(enabled=True, stochastic=True), Kernel()])
@pytest.mark.parametrize("now", [ON, Kernel()])
def test_on_if_and_only_if_it_was_on(before, now):
    wrong = mismatch(now, {"bertjob": mark(before)}, "m")
    assert (wrong is None) == (before.enabled == now.enabled)
    assert mismatch(now, {}, "m") is None  # made elsewhere
    assert mismatch(now, {"bertjob": 3}, "m") is None


@pytest.mark.parametrize("named", ["", "model.safetensors"])
def test_a_model_that_was_trained_otherwise_is_refused_before_anything_is_queued(tmp_path, named):
    (tmp_path / "config.json").write_bytes(msgspec.json.encode({"model_type": "bert", "bertjob": mark(ON)}))
    (tmp_path / "model.safetensors").touch()
    settings = (f"model.init={tmp_path / named}", "resources.gpus_per_node=4")
    with pytest.raises(PreflightError, match=r"model.init: .*with DeepSpeed's transformer kernel"):
        check_kernel(planned("squad", *settings))
    check_kernel(planned("squad", *settings, *(f"{key}={value}" for key, value in FITTING.items())))
    (tmp_path / "config.json").write_text("[1]")
    check_kernel(planned("squad", *settings))


def test_a_chain_goes_on_with_the_layers_it_began_with(tmp_path):
    gpus = ("resources.gpus_per_node=4", "model.init=random", f"model.vocab={tmp_path}")
    with_it = [f"{key}={value}" for key, value in FITTING.items()]

    def link(name: str, *settings: str) -> Job:
        return load_job("squad", (f"name={name}", *gpus, *settings)).value

    with pytest.raises(PreflightError, match=r"job second: the model of job first is trained with DeepSpeed's"):
        refuse_chain([link("first", *with_it), link("second")])
    with pytest.raises(PreflightError, match=r"job second: the model of job first is trained without DeepSpeed's"):
        refuse_chain([link("first"), link("second", *with_it)])
    refuse_chain([link("first", *with_it), link("second", *with_it)])
