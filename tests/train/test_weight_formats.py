"""Pretrained weights that others wrote: TensorFlow's files, bing_bert's and DeepSpeed's checkpoints."""

import argparse
import base64
import json
import pickle
import shutil
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import tf_files
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertForPreTraining, RobertaConfig, RobertaForMaskedLM

from bertjob.config.job import Job, Kernel, Model, Train
from bertjob.errors import DataError
from bertjob.train.data.batch import Batch
from bertjob.train.model.formats import tensorflow
from bertjob.train.model.heads import predictions
from bertjob.train.model.initialize import build

WORDS, HIDDEN, HEADS, LAYERS = 40, 16, 2, 2
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def job(init: Path | str, **model: object) -> Job:
    return Job(name="x", model=Model(init=str(init), dropout=0.0, **model), train=Train(max_seq_length=32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join([*MARKS, *(f"word{number}" for number in range(WORDS - 5))]) + "\n")
    return tmp_path


@pytest.fixture(scope="module")
def stock() -> BertForPreTraining:
    torch.manual_seed(1)
    sizes = {"vocab_size": WORDS, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    model = BertForPreTraining(BertConfig(intermediate_size=32, max_position_embeddings=32, **sizes))
    for parameter in model.parameters():  # biases that are 0 and LayerNorms that are 1 would hide a mistake
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def same(model: torch.nn.Module, stock: BertForPreTraining) -> bool:
    weights = model.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in stock.state_dict().items())


def google(weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The weights by Google's names, spelt out, and what its optimizer leaves beside them."""
    found: dict[str, np.ndarray] = {"global_step": np.array(7)}
    for name, tensor in weights.items():
        if name == "cls.predictions.decoder.weight" or name.endswith("decoder.bias"):
            continue  # tied
        parts = name.split(".")
        own = "LayerNorm" in name or "_embeddings" in name
        array = tensor.numpy()
        if parts[-1] == "weight" and not own and parts[1] != "seq_relationship":
            array = array.T
        end = {"weight": "gamma", "bias": "beta"} if "LayerNorm" in name else {"weight": "kernel", "bias": "bias"}
        if "_embeddings" in name:
            parts = parts[:-1]
        elif parts[1] == "seq_relationship" or name == "cls.predictions.bias":
            parts[-1] = {"weight": "output_weights", "bias": "output_bias"}[parts[-1]]
        else:
            parts[-1] = end[parts[-1]]
        path = "/".join(parts).replace("layer/", "layer_")
        found |= {path: array, f"{path}/adam_m": array * 0, f"{path}/adam_v": array * 0}
    return found


@pytest.fixture
def of_google(folder: Path, stock: BertForPreTraining) -> Path:
    tf_files.write(folder / "bert_model.ckpt", google(stock.state_dict()))
    config = {"hidden_act": "gelu", "vocab_size": WORDS, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS}
    config |= {"num_attention_heads": HEADS, "intermediate_size": 32, "max_position_embeddings": 32}
    (folder / "bert_config.json").write_text(json.dumps(config | {"type_vocab_size": 2}))
    return folder


@pytest.mark.parametrize(
    "name", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_google_s_files_are_read_without_tensorflow(of_google, stock, caplog, name):
    model = build(job(of_google / name), "masked and next")
    assert same(model, stock)
    assert model.config.num_attention_heads == HEADS
    assert not caplog.records


def test_numbers_of_every_size_are_read(tmp_path):
    array = np.array([[1.5, -2.0], [0.25, 3.0]])
    tensors = {"double": array, "half": array.astype(np.float16), "single": array.astype(np.float32)}
    tensors["bfloat"] = (array.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensors |= {"scalar": np.array(2.5, np.float32), "whole": np.arange(3), "empty": np.zeros((0, 4), np.float32)}
    tf_files.write(tmp_path / "x", tensors, {"bfloat": 14})
    entries = tensorflow.read_index(tmp_path / "x")
    found = dict(tensorflow.read_tensors(tmp_path / "x", entries))
    assert found.keys() == tensors.keys() - {"whole"}
    for name in ("double", "half", "single", "bfloat"):
        assert np.array_equal(found[name], array)
        assert found[name].dtype == np.float32
    assert found["scalar"] == 2.5
    assert found["empty"].shape == (0, 4)


# Written by TensorFlow 2.21 itself.
INDEX = """
AAAGCAEaAggBAAsPYmVydC9hL2JpYXMIExIEEgIIAigENeQnjT8HBhVrZXJuZWwIARIIEgIIAhICCAMgBCgYNXrr9asACw1nbG9iYWxfc3RlcA
gJEgAgHCgINbvXnxEAAAAAAQAAAAB43cuzAAAAAAEAAAAAwPKhsAABAmgAZwAAAAABAAAAAIqoVpZsCHkOAAAAAAAAAAAAAAAAAAAAAAAAAAAA
AAAAAAAAAAAAAAAAAAAAV/uAiyR1R9s=
"""
DATA = "ADgAvAAAgD8AAABAAABAQAAAgEAAAKBAAADAQAcAAAAAAAAA"


def test_what_tensorflow_itself_has_written_is_read(tmp_path):
    (tmp_path / "x.index").write_bytes(base64.b64decode(INDEX))
    (tmp_path / "x.data-00000-of-00001").write_bytes(base64.b64decode(DATA))
    found = dict(tensorflow.read_tensors(tmp_path / "x", tensorflow.read_index(tmp_path / "x")))
    assert found.keys() == {"bert/a/kernel", "bert/a/bias"}
    assert found["bert/a/kernel"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found["bert/a/bias"].tolist() == [0.5, -1]


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


def more_words(file: Path) -> None:
    file.write_text(file.read_text() + "one more\n")


def rename_type(file: Path) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_type": "albert"}))


def replace_index(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    tf_files.write(folder / "bert_model.ckpt", tensors)


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda at: cut(at / "bert_model.ckpt.data-00000-of-00001", 500), r"-of-00001: ends before bert/embeddings/"),
        (lambda at: cut(at / "bert_model.ckpt.index", 500), r"index: no index of a TensorFlow checkpoint"),
        (lambda at: (at / "bert_model.ckpt.data-00000-of-00001").unlink(), r"no such file, which holds the tensors of"),
        (lambda at: (at / "bert_config.json").unlink(), r"bert_config.json: cannot be read"),
        (lambda at: rename_type(at / "bert_config.json"), r"a model of type 'albert'; bertjob trains bert, roberta"),
        (lambda at: replace_index(at, {"a/kernel": np.ones(2)}), r"no BERT of Google's \(a/kernel\)"),
        (lambda at: replace_index(at, {"_CHECKPOINTABLE_OBJECT_GRAPH": np.ones(2)}), r"of TensorFlow 2's objects"),
        (lambda at: more_words(at / "vocab.txt"), r"has 40 word embeddings, .* 41 tokens: not a pair"),
    ],
)
def test_google_s_files_that_are_no_good_are_refused_in_one_line(of_google, spoil, line):
    spoil(of_google)
    with pytest.raises(DataError, match=line) as refusal:
        build(job(of_google, ckpt_type="tf"), "masked and next")
    assert "\n" not in str(refusal.value)


def bing(stock: BertForPreTraining, norm: str) -> dict[str, Tensor]:
    """The stock weights by bing_bert's names; a pre-LN layer's LayerNorms are the same numbers in other places."""
    found = {}
    for name, tensor in stock.state_dict().items():
        if name == "cls.predictions.decoder.bias":
            continue
        new = name.replace("intermediate.dense.", "intermediate.dense_act.").replace(
            "pooler.dense.", "pooler.dense_act."
        )
        new = new.replace("transform.dense.", "transform.dense_act.")
        if norm == "pre":
            new = new.replace("attention.output.LayerNorm", "PreAttentionLayerNorm")
            if "encoder" in new:
                new = new.replace("output.LayerNorm", "PostAttentionLayerNorm")
        found[new] = tensor.clone()
    if norm == "pre":
        torch.manual_seed(2)
        found["bert.encoder.FinalLayerNorm.weight"] = torch.randn(HIDDEN)
        found["bert.encoder.FinalLayerNorm.bias"] = torch.randn(HIDDEN)
    return found


def with_kernel(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with the layers' weights as DeepSpeed's transformer kernel has them."""
    found = {name: tensor for name, tensor in weights.items() if "encoder.layer." not in name}
    for number in range(LAYERS):
        layer = f"bert.encoder.layer.{number}."
        ours = {name.removeprefix(layer): tensor for name, tensor in weights.items() if name.startswith(layer)}
        for letter, end in (("w", "weight"), ("b", "bias")):
            parts = [ours[f"attention.self.{part}.{end}"] for part in ("query", "key", "value")]
            found |= {
                f"{layer}attn_qkv{letter}": torch.cat(parts),
                f"{layer}attn_o{letter}": ours[f"attention.output.dense.{end}"],
                f"{layer}attn_n{letter}": ours[f"PostAttentionLayerNorm.{end}"],
                f"{layer}inter_{letter}": ours[f"intermediate.dense_act.{end}"],
                f"{layer}output_{letter}": ours[f"output.dense.{end}"],
                f"{layer}norm_{letter}": ours[f"PreAttentionLayerNorm.{end}"],
            }
    return found


def by_bing_bert(weights: dict[str, Tensor], ids: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """What bing_bert's pre-LN BERT computes of one sample, written down anew: scores of all tokens, and of the pair."""

    def linear(name: str, value: Tensor) -> Tensor:
        return functional.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(name: str, value: Tensor) -> Tensor:
        return functional.layer_norm(value, (HIDDEN,), weights[f"{name}.weight"], weights[f"{name}.bias"], 1e-12)

    def table(name: str) -> Tensor:
        return weights[f"bert.embeddings.{name}_embeddings.weight"]

    hidden = table("word")[ids] + table("position")[: len(ids)] + table("token_type")[segments]
    hidden = norm("bert.embeddings.LayerNorm", hidden)
    for number in range(LAYERS):
        layer = f"bert.encoder.layer.{number}"
        entering = norm(f"{layer}.PreAttentionLayerNorm", hidden)
        query, key, value = (
            linear(f"{layer}.attention.self.{what}", entering).view(len(ids), HEADS, -1).transpose(0, 1)
            for what in ("query", "key", "value")
        )
        shares = torch.softmax(query @ key.transpose(1, 2) / (HIDDEN / HEADS) ** 0.5, -1)
        seen = (shares @ value).transpose(0, 1).reshape(len(ids), HIDDEN)
        hidden = hidden + linear(f"{layer}.attention.output.dense", seen)
        inner = linear(f"{layer}.intermediate.dense_act", norm(f"{layer}.PostAttentionLayerNorm", hidden))
        hidden = hidden + linear(f"{layer}.output.dense", functional.gelu(inner))
    hidden = norm("bert.encoder.FinalLayerNorm", hidden)
    pair = linear("cls.seq_relationship", torch.tanh(linear("bert.pooler.dense_act", hidden[0])))
    guess = functional.gelu(linear("cls.predictions.transform.dense_act", hidden))
    guess = norm("cls.predictions.transform.LayerNorm", guess)
    return guess @ table("word").T + weights["cls.predictions.bias"], pair


def two_samples() -> tuple[Batch, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(4)
    samples = [(torch.randint(5, WORDS, (size,)), (torch.arange(size) > 3).long()) for size in (7, 5)]
    ids, segments = (torch.cat(column)[None] for column in zip(*samples, strict=True))
    positions = torch.cat([torch.arange(7), torch.arange(5)])[None]
    targets = {"mask_positions": torch.arange(12), "mask_labels": ids[0], "next_sentence": torch.tensor([0, 1])}
    return Batch(ids, segments, positions, (7, 5), None, targets), samples


def save(content: object, file: Path) -> Path:
    """As torch wrote files before its version 1.6, like the checkpoints of the tutorials."""
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file


def test_a_pre_training_checkpoint_of_bing_bert_computes_what_bing_bert_computes(folder, stock, caplog):
    weights = bing(stock, "pre")
    content = {"module": OrderedDict(weights), "epoch": 162, "args": argparse.Namespace(lr=1e-3), "optimizer": {}}
    file = save(content, folder / "training_state_checkpoint_162.tar")
    model = build(job(file, heads=HEADS), "masked and next").eval()
    assert not caplog.records
    batch, samples = two_samples()
    scores, answers = predictions(model, batch)
    expected = [by_bing_bert(weights, *sample) for sample in samples]
    torch.testing.assert_close(scores, torch.cat([found[0] for found in expected]), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(answers, torch.stack([found[1] for found in expected]), rtol=1e-4, atol=1e-4)


def test_a_fine_tuning_starts_from_it(folder, stock, caplog):
    file = save({"module": bing(stock, "pre")}, folder / "x.pt")
    model = build(job(file, heads=HEADS, norm="pre", kind="bert"), "spans")
    weights, new = bing(stock, "pre"), model.state_dict()
    layer = "roberta_prelayernorm.encoder.layer.1"
    assert torch.equal(
        new[f"{layer}.attention.LayerNorm.bias"], weights["bert.encoder.layer.1.PreAttentionLayerNorm.bias"]
    )
    assert not caplog.records


@pytest.mark.parametrize("inside", ["module", "model_state_dict", None])
def test_a_post_ln_checkpoint_of_bing_bert_is_a_bert_of_transformers(folder, stock, inside):
    weights = {f"module.{name}": tensor.half() for name, tensor in bing(stock, "post").items()}
    torch.save({inside: weights} if inside else weights, folder / "x.pt")
    model = build(job(folder / "x.pt", heads=HEADS, ckpt_type="deepspeed"), "masked and next")
    assert all(
        torch.equal(tensor, stock.state_dict()[name].half().float()) for name, tensor in model.state_dict().items()
    )


def test_a_checkpoint_of_hello_deepspeed_is_a_roberta(folder, stock, caplog):
    """Its model has RoBERTa as `encoder`, beside it transformers' `lm_head`."""
    torch.manual_seed(5)
    sizes = {"vocab_size": WORDS, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    config = RobertaConfig(max_position_embeddings=34, intermediate_size=32, type_vocab_size=1, **sizes)
    weights = RobertaForMaskedLM(config).state_dict()
    theirs = {name.replace("roberta.", "encoder.", 1): tensor for name, tensor in weights.items()}
    torch.save({"model": theirs, "optimizer": {"state": {}}}, folder / "checkpoint.iter_1000.pt")
    model = build(job(folder / "checkpoint.iter_1000.pt", heads=HEADS, kind="roberta"), "masked")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert model.config.layer_norm_eps == 1e-5
    assert not caplog.records


def test_a_folder_of_deepspeed_s_engine_is_found_by_its_latest_tag(folder, stock):
    tag = folder / "epoch162_step30000"
    tag.mkdir()
    (folder / "latest").write_text(f"{tag.name}\n")
    torch.save({"module": bing(stock, "post")}, tag / "mp_rank_00_model_states.pt")
    shutil.copy(folder / "vocab.txt", tag)
    assert same(build(job(folder, heads=HEADS), "masked and next"), stock)
    assert same(build(job(tag, heads=HEADS), "masked and next"), stock)


def test_layers_of_the_transformer_kernel_are_the_same_and_go_on_with_it_alone(folder, stock):
    plain = save({"module": bing(stock, "pre")}, folder / "plain.pt")
    file = save({"module": with_kernel(bing(stock, "pre"))}, folder / "kernel.pt")
    found = build(job(file, heads=HEADS, kernel=Kernel(enabled=True)), "masked and next")
    expected = build(job(plain, heads=HEADS), "masked and next").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert (found.config.bertjob, found.config.hidden_act) == ({"kernel": "deterministic"}, "gelu_new")
    with pytest.raises(DataError, match=r"kernel.pt is trained with DeepSpeed's transformer kernel.*say model.kernel"):
        build(job(file, heads=HEADS), "spans")


class Foreign:
    """What no reader should make."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("this code was run",))


@pytest.mark.parametrize(
    ("content", "model", "line"),
    [
        ({"module": {"bert.x": torch.ones(1)}}, {}, r"x.pt: holds no embeddings.word_embeddings.weight"),
        (
            {"module": {"bert.embeddings.word_embeddings.weight": torch.ones(40)}},
            {},
            r"x.pt: its bert.embeddings.word_embeddings.weight has 1 dimensions, where that of a BERT has 2",
        ),
        ({"module": 3}, {}, r"x.pt: holds no embeddings.word_embeddings.weight"),
        ({"a": Foreign()}, {}, r"x.pt: its weights cannot be loaded \(it holds a print, which is not only data\)"),
        (None, {}, r"x.pt: does not say its attention heads: say model.heads"),
        (None, {"heads": 2, "layers": 3}, r"model.layers is 3, but .*x.pt has 2: say --set model.layers=2 or null"),
        (
            None,
            {"heads": 2, "norm": "post"},
            r"model.norm is post, but .*x.pt has pre: say --set model.norm=pre or null",
        ),
        (
            None,
            {"heads": 2, "kind": "roberta"},
            r"model.kind is roberta, but .*x.pt has bert: say --set model.kind=bert or null",
        ),
        (
            None,
            {"heads": 2, "ckpt_type": "tf"},
            r"x.pt: is in DeepSpeed's layout, and model.ckpt_type is tf: say deepspeed",
        ),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused_in_one_line(folder, stock, capsys, content, model, line):
    save(content or {"module": bing(stock, "pre")}, folder / "x.pt")
    with pytest.raises(DataError, match=line) as refusal:
        build(job(folder / "x.pt", **model), "masked and next")
    assert "\n" not in str(refusal.value)
    assert not capsys.readouterr().out


def test_weights_that_do_not_fit_are_named_with_both_shapes(folder, stock):
    weights = bing(stock, "pre")
    weights["bert.encoder.layer.1.output.dense.weight"] = torch.ones(HIDDEN, 31)
    save({"module": weights}, folder / "x.pt")
    line = r"encoder.layer.1.output.dense.weight is 16 x 31, where its config and the vocabulary make it 16 x 32"
    with pytest.raises(DataError, match=line):
        build(job(folder / "x.pt", heads=HEADS), "masked and next")


def test_a_checkpoint_that_lacks_a_weight_of_a_layer_is_refused(folder, stock):
    weights = bing(stock, "post")
    del weights["bert.encoder.layer.1.attention.output.dense.weight"]
    save({"module": weights}, folder / "x.pt")
    with pytest.raises(DataError, match=r"x.pt: .* it lacks bert.encoder.layer.1.attention.output.dense.weight$"):
        build(job(folder / "x.pt", heads=HEADS), "masked and next")


def test_weights_in_parts_are_refused(folder):
    (folder / "zero_pp_rank_0_mp_rank_00_model_states.pt").write_bytes(pickle.dumps({}))
    with pytest.raises(DataError, match=r"ZeRO 3 has cut these weights into parts: give the checkpoint's model/"):
        build(job(folder), "spans")
