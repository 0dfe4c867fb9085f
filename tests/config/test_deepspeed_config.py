"""The job's `deepspeed:` section is checked before the job is queued."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.config.checks.deepspeed_config import (
    NOT_DONE_HERE,
    PASSED_ON,
    REMOVED,
    SAID_BY_THE_JOB,
    check_deepspeed,
    cuts_tensors,
    enabled_precision,
)
from bertjob.config.load import load_job
from bertjob.errors import SpecError

ZERO = "zero_optimization"


@pytest.mark.parametrize(
    "section",
    [
        {},
        {ZERO: {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5e7}},
        {ZERO: {"stage": 3, "stage3_max_live_parameters": 1e8, "offload_param": {"device": "cpu"}}},
        {ZERO: {"stage": 1, "offload_optimizer": {"device": "cpu", "pin_memory": False}}},
        {"fp16": {"enabled": True, "loss_scale": 0, "initial_scale_power": 12}, ZERO: {"stage": 1}},
        {"fp16": {"enabled": False}, "bf16": {"enabled": True}},
        {"steps_per_print": 100, "wall_clock_breakdown": True, "comms_logger": {"enabled": True}},
    ],
)
def test_what_deepspeed_reads_is_passed_on(section):
    check_deepspeed(section)


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ({"zero_optimisation": {}}, "deepspeed.zero_optimisation is no key .* did you mean 'zero_optimization'"),
        ({ZERO: {"stages": 1}}, r"deepspeed.zero_optimization.stages is no key .* did you mean 'stage'"),
        ({ZERO: {"offload_optimizer": {"devise": "cpu"}}}, r"offload_optimizer.devise .* did you mean 'device'"),
        ({"fp16": {"enable": True}}, r"deepspeed.fp16.enable .* did you mean 'enabled'"),
        ({"train_batch_size": 32}, r"would contradict the job: say train.global_batch"),
        ({"optimizer": {"type": "Adam", "params": {"max_grad_norm": 1}}}, r"say optimizer.name, optimizer.lr"),
        ({"max_grad_norm": 1.0}, r"say optimizer.max_grad_norm"),
        ({"amp": {"enabled": True}}, r"deepspeed.amp: DeepSpeed has removed it"),
        ({"sparse_attention": {}}, r"DeepSpeed has removed it"),
        ({"tensor_parallel": {}}, r"does not use that part"),
        ({ZERO: {"stage": 4}}, r"stage is 4; the stages of ZeRO are 0, 1, 2 and 3"),
        ({ZERO: {"stage": True}}, r"stage is True"),
        ({ZERO: None}, r"deepspeed.zero_optimization is None; it must be a mapping"),
        ({ZERO: {"stage": 3, "offload_param": "cpu"}}, r"offload_param is 'cpu'; it must be a mapping"),
        ({ZERO: {"stage": 2, "offload_param": {"device": "cpu"}}}, r"offload_param needs stage 3, not 2"),
        ({ZERO: {"offload_optimizer": {"device": "cpu"}}}, r"offload_optimizer needs stage 1 or 2 or 3, not 0"),
        ({ZERO: {"stage": 3, "offload_param": {"device": "nvme"}}}, r"device is 'nvme'; .* 'cpu', or 'none'"),
        ({"fp16": {"enabled": True}, "bf16": {"enabled": True}}, r"fp16 and deepspeed.bf16 are both enabled"),
        ({"bf16": {"enabled": True}, ZERO: {"stage": 0}}, r"stage is 0, but bf16 needs 1, 2 or 3"),
    ],
)
def test_what_would_be_ignored_or_fail_on_the_nodes_is_refused_in_one_line(section, line):
    with pytest.raises(SpecError, match=line) as refusal:
        check_deepspeed(section)
    assert "\n" not in str(refusal.value)


def test_precision_is_said_in_one_place():
    check_deepspeed({"bf16": {"enabled": True}}, "bf16")
    with pytest.raises(SpecError, match=r"deepspeed.bf16 is enabled, but precision is fp32"):
        check_deepspeed({"bf16": {"enabled": True}}, "fp32")
    with pytest.raises(SpecError, match="stage is 0, but fp16 needs 1, 2 or 3"):
        check_deepspeed({ZERO: {"stage": 0}}, "fp16")
    assert enabled_precision({"bf16": {"enabled": False}, "fp16": {"enabled": True}}) == "fp16"
    assert enabled_precision({}) is None


def test_a_job_with_a_mistyped_section_does_not_load():
    with pytest.raises(SpecError, match="did you mean 'zero_optimization'"):
        load_job("squad", settings=["deepspeed.zero_optimizaton.stage=1"])


def test_each_key_has_one_meaning():
    kinds = [PASSED_ON, frozenset(SAID_BY_THE_JOB), NOT_DONE_HERE, REMOVED]
    assert sum(map(len, kinds)) == len(frozenset().union(*kinds))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
NAMES = st.sampled_from([ZERO, "fp16", "bf16", "torch_autocast", "stage", "enabled", "offload_param", "device"])


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.dictionaries(NAMES, JSON) | JSON) | JSON))
def test_no_section_ends_in_anything_but_a_line(section):
    with suppress(SpecError):
        check_deepspeed(section)


@pytest.mark.parametrize(
    ("section", "word"),
    [({"zero_optimization": {"stage": 2}}, "stage 2"), ({"bf16": {"enabled": True}}, "DeepSpeed's bf16")],
)
def test_an_optimizer_that_looks_at_whole_tensors_does_not_go_with_zero(section, word):
    assert word in cuts_tensors(section, "lamb")
    assert cuts_tensors(section, "adamw") is None
    assert cuts_tensors({}, "lamb") is None
