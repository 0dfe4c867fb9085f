"""DeepSpeed's transformer kernel: the layout of its weights, its encoder in a model, and where it is refused."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import torch
from kernel_formula import FormulaLayer
from run_ranks import losses, make_run
from torch import nn
from transformers import BertConfig, BertForQuestionAnswering, RobertaPreLayerNormConfig, RobertaPreLayerNormModel
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.roberta_prelayernorm.modeling_roberta_prelayernorm import RobertaPreLayerNormLayer

from bertjob.config.checks.kernel import Flags
from bertjob.config.job import Evaluation, Job, Kernel, Model, Train
from bertjob.errors import DataError, SpecError
from bertjob.rundir.world import World
from bertjob.train.checkpoint.export import write_model
from bertjob.train.model import attention
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.model.kernel.install import install, layer_settings, replace_layers
from bertjob.train.model.kernel.weights import names, to_kernel, to_transformers

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 100,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "attn_implementation": attention.NAME,
}
ALONE = World(0, 1, 0, 1, "no launcher")
ON = Kernel(enabled=True)


def drawn(module: nn.Module) -> nn.Module:
    """Weights of all kinds, LayerNorms and biases too, so that none passes for another."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw) / 4 + (parameter.ndim == 1))
    return module


def formula(norm: str) -> FormulaLayer:
    return FormulaLayer(32, 64, 4, 1e-12, pre=norm == "pre")


def bert() -> BertForQuestionAnswering:
    return drawn(BertForQuestionAnswering(BertConfig(**SIZES)))


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    """Rows of 23 tokens, of which one has five of padding."""
    mask = torch.ones(3, 23, dtype=torch.int64)
    mask[1, 18:] = 0
    return {"input_ids": torch.arange(69).view(3, 23), "attention_mask": mask}


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_weights_come_back_bitwise_from_the_kernels_layout(norm):
    config = BertConfig(**SIZES) if norm == "post" else RobertaPreLayerNormConfig(**SIZES)
    kind = BertLayer if norm == "post" else RobertaPreLayerNormLayer
    layer = drawn(kind(config)).state_dict()
    weights = {f"bert.encoder.layer.{n}.{name}": tensor for n in (0, 11) for name, tensor in layer.items()}
    weights["bert.embeddings.word_embeddings.weight"] = torch.rand(5, 32)
    stacked = to_kernel(weights, norm)
    assert {name.rpartition(".")[2] for name in stacked if ".layer." in name} == set(names(norm))
    assert len(stacked) == 2 * 12 + 1
    back = to_transformers(stacked, norm)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in weights.items())
    assert to_transformers(weights, norm) == weights


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_kernels_formula_with_converted_weights_is_transformers_layer(norm):
    config = BertConfig(**SIZES) if norm == "post" else RobertaPreLayerNormConfig(**SIZES, layer_norm_eps=1e-12)
    layer = drawn((BertLayer if norm == "post" else RobertaPreLayerNormLayer)(config)).eval()
    kernel = formula(norm)
    weights = {f"layer.0.{name}": tensor for name, tensor in layer.state_dict().items()}
    kernel.load_state_dict({name.removeprefix("layer.0."): t for name, t in to_kernel(weights, norm).items()})
    rows = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(1))
    seen = torch.ones(3, 1, 1, 32, dtype=torch.bool)
    seen[1, ..., 20:] = False
    expected = layer(rows, seen.expand(3, 1, 32, 32))
    found = kernel(rows, torch.where(seen, 0.0, -10000.0))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_models_logits_and_gradients_stay_with_the_encoder_in_place(batch):
    stock, other = bert(), bert()
    replace_layers(other, lambda: formula("post"), torch.float32)
    for model in (stock, other):
        found = model(**batch)
        (found.start_logits.square() + found.end_logits).mean().backward()
    ours, theirs = [m(**batch).start_logits for m in (stock, other)]
    seen = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[seen], theirs[seen], rtol=1e-4, atol=1e-4)
    gradients = to_transformers({name: p.grad for name, p in other.named_parameters()}, "post")
    for name, parameter in stock.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-3, atol=1e-5, msg=name)
    layer = other.bert.encoder.layer[0]
    assert layer.called_with[0] == (torch.float32, torch.Size([3, 32, 32]), torch.Size([3, 1, 1, 32]))


def test_a_pre_ln_models_hidden_states_stay_too(batch):
    stock, other = (
        drawn(RobertaPreLayerNormModel(RobertaPreLayerNormConfig(**SIZES, layer_norm_eps=1e-12))) for _ in "ab"
    )
    replace_layers(other, lambda: formula("pre"), torch.float32)
    with torch.no_grad():
        ours, theirs = (model(**batch).last_hidden_state for model in (stock, other))
    seen = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[seen], theirs[seen], rtol=1e-4, atol=1e-4)


def test_layers_compute_narrow_and_their_gradients_stay_wide(batch):
    model = bert()
    replace_layers(model, lambda: formula("post"), torch.float16)
    model.bert(**batch).last_hidden_state.float()[0].square().mean().backward()
    layer = model.bert.encoder.layer[1]
    assert layer.called_with[0][0] == torch.float16
    assert {p.dtype for p in layer.parameters()} == {p.grad.dtype for p in layer.parameters()} == {torch.float32}
    assert all(p.grad.abs().sum() > 0 for name, p in layer.named_parameters() if name not in ("attn_qkvb", "norm_b"))


def test_packed_rows_are_refused(batch):
    model = bert()
    replace_layers(model, lambda: formula("post"), torch.float32)
    segments = attention.Segments.of((10, 13), torch.arange(23))
    with pytest.raises(SpecError, match=r"train.batching padded or pools"):
        model(input_ids=batch["input_ids"][:1], segments=segments)


def test_a_saved_model_is_transformers_own_and_says_how_it_was_trained(tiny_job, demo_model, batch, tmp_path):
    """And by that a job with other layers is refused, where the model is loaded."""
    job = with_kernel(tiny_job, ON)
    model = build_question_answering(job)
    assert model.config.hidden_act == "gelu_new"
    sizes = model.config
    replace_layers(
        model, lambda: FormulaLayer(sizes.hidden_size, sizes.intermediate_size, 2, 1e-12, pre=False), torch.float32
    )
    write_model(tmp_path / "model", model, model.state_dict(), lambda folder: None)
    loaded, loading = BertForQuestionAnswering.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not any(loading.values()), loading
    for one in (loaded, model.eval()):
        one.eval()
    with torch.no_grad():
        ours, theirs = (one(**batch).end_logits for one in (model, loaded))
    seen = batch["attention_mask"].bool()
    torch.testing.assert_close(ours[seen], theirs[seen], rtol=1e-4, atol=1e-4)
    assert json.loads((tmp_path / "model" / "config.json").read_text())["bertjob"] == {"kernel": "deterministic"}

    init = {"init": str(tmp_path / "model"), "vocab": str(demo_model)}
    fine = msgspec.structs.replace(job, model=Model(**init, kernel=ON))
    assert build_question_answering(fine).config.bertjob == {"kernel": "deterministic"}
    with pytest.raises(
        DataError, match=r"is trained with DeepSpeed's transformer kernel.*say model.kernel.enabled: true"
    ):
        build_question_answering(msgspec.structs.replace(job, model=Model(**init)))


def test_a_model_trained_without_says_so_and_is_refused_with_it(tiny_job, demo_model, tmp_path):
    model = build_question_answering(tiny_job)
    write_model(tmp_path / "model", model, model.state_dict(), lambda folder: None)
    init = Model(init=str(tmp_path / "model"), vocab=str(demo_model), kernel=ON)
    with pytest.raises(
        DataError, match=r"is trained without DeepSpeed's transformer kernel.*say model.kernel.enabled: false"
    ):
        build_question_answering(msgspec.structs.replace(tiny_job, model=init))


def test_the_layers_settings_are_ones_that_deepspeed_knows():
    from deepspeed import DeepSpeedTransformerConfig

    job = Job(
        name="x",
        seed=2**32 - 1,
        model=Model(kernel=Kernel(enabled=True, stochastic=True)),
        train=Train(micro_batch=3),
        evaluation=Evaluation(micro_batch=8),
    )
    flags = Flags(normalize_invertible=True, attn_dropout_checkpoint=False, gelu_checkpoint=True)
    said = layer_settings(bert().config, job, flags, World(5, 8, 1, 4, "x"), fp16=True)
    made = DeepSpeedTransformerConfig(**said)
    assert {name: getattr(made, name) for name in said} == said
    assert (made.batch_size, made.seed, made.fp16, made.pre_layer_norm) == (8, 4, True, False)
    assert (made.normalize_invertible, made.attn_dropout_checkpoint, made.gelu_checkpoint) == (True, False, True)
    pre = RobertaPreLayerNormConfig(**SIZES)
    assert layer_settings(pre, job, flags, ALONE, fp16=False)["pre_layer_norm"]


def test_deepspeeds_layers_have_the_parameters_that_ours_are_turned_into(monkeypatch):
    """Its real layers, whose CUDA part is made when they are; a stand-in takes only that call."""
    from deepspeed.ops.transformer import transformer

    calls: list[tuple] = []
    cuda = SimpleNamespace(create_transformer_layer_fp16=lambda *told: calls.append(told))
    monkeypatch.setattr(transformer, "transformer_cuda_module", cuda)
    model = bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    flags = Flags(normalize_invertible=False, attn_dropout_checkpoint=True, gelu_checkpoint=False)
    said = layer_settings(model.config, Job(name="x", model=Model(kernel=ON)), flags, ALONE, fp16=True)
    replace_layers(
        model,
        lambda: transformer.DeepSpeedTransformerLayer(transformer.DeepSpeedTransformerConfig(**said)),
        torch.float16,
    )
    layers = list(model.bert.encoder.layer)
    assert [type(layer) for layer in layers] == [transformer.DeepSpeedTransformerLayer] * 2
    assert len({told[0] for told in calls}) == 2  # each is a layer of its own
    assert calls[0][2:5] == (32, 4, 64)
    back = to_transformers(model.state_dict(), "post")
    assert back.keys() == before.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in before.items())


def test_on_a_cpu_it_is_refused_when_the_training_starts(tiny_job):
    with pytest.raises(SpecError, match=r"model.kernel.enabled needs a GPU with CUDA, and this rank trains on a CPU"):
        install(bert(), with_kernel(tiny_job, ON), ALONE, torch.device("cpu"))


def with_kernel(job: Job, kernel: Kernel) -> Job:
    return msgspec.structs.replace(job, model=msgspec.structs.replace(job.model, kernel=kernel))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("flags", [{}, dict.fromkeys(Flags.__struct_fields__, True)], ids=["keeps", "recomputes"])
def test_on_a_gpu_the_kernel_follows_its_formula_forward_and_backward(norm, precision, flags):
    config = BertConfig(**SIZES | {"hidden_size": 128, "intermediate_size": 512})
    kind = BertForQuestionAnswering
    if norm == "pre":
        config = RobertaPreLayerNormConfig(
            **SIZES | {"hidden_size": 128, "intermediate_size": 512}, layer_norm_eps=1e-12
        )
        kind = RobertaPreLayerNormModel
    torch.manual_seed(0)
    plain = kind(config)
    kernel = kind(config)
    kernel.load_state_dict(plain.state_dict())
    job = Job(name="x", precision=precision, model=Model(dropout=0.0, kernel=Kernel(enabled=True, **flags)))
    gpu = torch.device("cuda", 0)
    install(kernel, job, ALONE, gpu)
    replace_layers(plain, lambda: FormulaLayer(128, 512, 4, 1e-12, pre=norm == "pre"), torch.float32)
    mask = torch.ones(4, 40, dtype=torch.int64)
    mask[2, 25:] = 0
    ids = torch.randint(5, 100, (4, 40))
    hidden = []
    for model in (plain.to(gpu), kernel.to(gpu)):
        model.train()
        found = model.base_model(input_ids=ids.to(gpu), attention_mask=mask.to(gpu)).last_hidden_state.float()
        (found * mask[..., None].to(gpu)).square().mean().backward()
        hidden.append(found.detach()[mask.bool()])
    bounds = {"rtol": 1e-3, "atol": 1e-4} if precision == "fp32" else {"rtol": 2e-2, "atol": 2e-2}
    torch.testing.assert_close(*hidden, **bounds)
    for (name, one), (_, other) in zip(plain.named_parameters(), kernel.named_parameters(), strict=True):
        if one.grad is not None and one.grad.abs().max() > 1e-6:
            ratio = (one.grad - other.grad).norm() / one.grad.norm()
            assert ratio < (1e-3 if precision == "fp32" else 5e-2), name


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_model_learns_with_the_kernel_and_both_back_ends(tmp_path: Path):
    runs = []
    for backend in ("torch", "deepspeed"):
        run = make_run(
            tmp_path / backend,
            backend=backend,
            precision="fp16",
            model__kernel={"enabled": True},
            model__dropout=0.0,
            model__hidden=128,
            model__ff=512,
            train__batching="padded",
            train__max_steps=30,
            resources__gpus_per_node=1,
        )
        # A process of its own: the server of the other runs has imported DeepSpeed for CPUs.
        command = [sys.executable, "-m", "bertjob.train", str(run / "job.yaml")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "DeepSpeed's transformer kernel, deterministic, memory flags: none" in done.stdout + done.stderr
        assert "layer #" not in done.stdout
        runs.append([loss for _, loss, _ in losses(run)])
    assert all(found[-1] < found[0] for found in runs)
    assert runs[0][:5] == pytest.approx(runs[1][:5], rel=0.05)
