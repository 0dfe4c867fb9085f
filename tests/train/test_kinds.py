"""RoBERTa over bytes and pre-LN BERT as whole runs: from text to a fine-tuned model, over both back ends."""

import json
import random
from pathlib import Path

import msgspec
import pytest
import torch
import transformers
from byte_level import byte_level
from holding import hold
from run_ranks import job_log, losses, make_run, run_to_end

from bertjob.config.load import read_job
from bertjob.errors import DataError
from bertjob.rundir.messages import Preparation
from bertjob.rundir.world import World
from bertjob.train.corpus.prepare import prepare
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.model.initialize import build
from bertjob.train.tasks.pretraining.task import PretrainTask
from bertjob.train.tasks.squad.task import SquadTask

WORDS = [
    *("the", "a", "cat", "dog", "bird", "tree", "house", "river", "red", "old", "tall", "small", "saw", "found"),
    *("left", "and", "under", "near"),
]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", ".", "what", "did", "where"]
ALONE = Ranks(World(0, 1, 0, 1, "test"), None)  # type: ignore[arg-type]  # one rank sends nothing
STEPS = 6


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = random.Random(5)
    documents = [
        "\n".join(" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) + " ." for _ in range(draw.randint(4, 12)))
        for _ in range(40)
    ]
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n\n".join(documents) + "\n")
    return file


def prepared(text: Path, vocab: Path) -> Path:
    out = vocab.parent / "shards"
    prepare(Preparation((str(text),), str(out), vocab=str(vocab), validation=0.2), lambda told: None)
    return out


@pytest.fixture(scope="module")
def of_bytes(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(text, byte_level(tmp_path_factory.mktemp("bytes"), [text.read_text()], 300))


@pytest.fixture(scope="module")
def of_pieces(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pieces") / "vocab.txt"
    file.write_text("\n".join([*MARKS, *sorted(WORDS)]) + "\n")
    return prepared(text, file)


def pretraining(folder: Path, shards: Path, **changes: object) -> Path:
    said = {
        "task": "mlm",
        "data": {"shards": str(shards)},
        "model__vocab": None,
        "train__max_seq_length": 48,
        "train__max_steps": STEPS,
        "pretraining": {"validation_samples": 10, "whole_words": True},
    }
    return make_run(folder, **said | changes)


def trained(run: Path) -> Path:
    assert run_to_end(run) == [0], job_log(run)
    return run


@pytest.fixture(scope="module")
def roberta(of_bytes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(pretraining(tmp_path_factory.mktemp("runs") / "one", of_bytes, model__kind="roberta"))


@pytest.fixture(scope="module")
def pre_norm(of_pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-LN, over DeepSpeed with ZeRO 1, keeping only what enters each layer."""
    zero = {"backend": "deepspeed", "deepspeed": {"zero_optimization": {"stage": 1}}}
    said = {"task": "pretrain", "model__norm": "pre", "model__activation_checkpointing": True, **zero}
    return trained(pretraining(tmp_path_factory.mktemp("runs") / "one", of_pieces, **said))


def is_whole(folder: Path, network: str) -> transformers.PreTrainedModel:
    model, loading = getattr(transformers, network).from_pretrained(folder, output_loading_info=True)
    assert not any(loading[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.architectures == [network]
    return model


def test_a_trained_roberta_is_transformers_own_with_its_tokenizer(roberta, of_bytes):
    config = is_whole(roberta / "model", "RobertaForMaskedLM").config
    assert (config.max_position_embeddings, config.type_vocab_size, config.pad_token_id) == (514, 1, 1)
    assert (config.bos_token_id, config.eos_token_id, config.layer_norm_eps) == (0, 2, 1e-5)
    theirs = transformers.AutoTokenizer.from_pretrained(roberta / "model")
    ours = load_tokenizer(of_bytes)
    assert theirs("the cat saw")["input_ids"] == [0, *ours.tokenizer.encode("the cat saw").ids[1:-1], 2]
    assert (theirs.mask_token, theirs.pad_token_id, theirs.cls_token_id) == ("<mask>", 1, ours.cls)


def test_a_trained_pre_norm_bert_is_transformers_own(pre_norm):
    config = is_whole(pre_norm / "model", "RobertaPreLayerNormForMaskedLM").config
    assert (config.max_position_embeddings, config.type_vocab_size, config.pad_token_id) == (513, 2, 0)
    assert {"mlm_loss", "nsp_accuracy"} < json.loads((pre_norm / "eval.json").read_text()).keys()


def test_training_goes_on_from_a_roberta_and_it_answers_questions(roberta, of_bytes, tmp_path):
    init = {"model": {"init": str(roberta), "ckpt_type": "bertjob"}}
    second = trained(pretraining(tmp_path / "second", of_bytes, backend="deepspeed", **init, train__max_steps=2))
    assert losses(second)[0][1] < losses(roberta)[0][1]  # its weights are not random any more
    tuned = trained(make_run(tmp_path / "tuned", **init, train__max_steps=2))
    is_whole(tuned / "model", "RobertaForQuestionAnswering")
    assert {"exact_match", "f1"} < json.loads((tuned / "eval.json").read_text()).keys()


def test_fine_tuning_starts_from_a_pre_norm_bert_in_any_of_its_forms(pre_norm, tmp_path):
    vocab = str(pre_norm / "model")
    tuned = trained(make_run(tmp_path / "tuned", model={"init": vocab, "norm": "pre"}, train__max_steps=2))
    is_whole(tuned / "model", "RobertaPreLayerNormForQuestionAnswering")
    job = read_job(tuned / "job.yaml")
    step = pre_norm / "checkpoints" / f"step-{STEPS - 2:06d}"
    places = {"bertjob": step, "deepspeed": step / "backend" / "deepspeed", "hf": step / "model" / "model.safetensors"}
    found = [
        build(
            msgspec.structs.replace(job, model=msgspec.structs.replace(job.model, init=str(place))), "masked and next"
        )
        for place in places.values()
    ]
    first, *others = (model.state_dict() for model in found)
    assert all(torch.equal(other[name], tensor) for other in others for name, tensor in first.items())


def test_a_roberta_reads_two_marks_between_question_and_context(roberta, tmp_path):
    run = make_run(tmp_path / "run", model={"init": str(roberta / "model")})
    task = SquadTask.from_job(read_job(run / "job.yaml"), hold(run), ALONE, torch.device("cpu"))
    (batch, *_) = task.micro_batches(0, 0, 1)
    first = batch.input_ids[0, : batch.seqlens[0]].tolist()
    decoded = task.tokenizer.tokenizer.decode(first, skip_special_tokens=False)
    question, context = decoded.removeprefix("<s>").removesuffix("</s>").split("</s></s>")
    assert question.startswith("what did the ")
    start, end = (batch.targets[name][0] for name in ("start_positions", "end_positions"))
    before = question.removesuffix(" ?").rsplit(" ", 1)[1]
    answer = task.tokenizer.tokenizer.decode(first[start : end + 1])
    assert f"{before}{answer}" in context  # the answer is the word behind the one that is asked for


@pytest.mark.parametrize(("kind", "norm"), [("roberta", "post"), ("roberta", "pre"), ("bert", "pre")])
def test_packed_and_padded_batches_have_the_same_loss(of_bytes, tmp_path, kind, norm):
    run = pretraining(tmp_path / "run", of_bytes, model__kind=kind, model__norm=norm, model__dropout=0.0)
    job = read_job(run / "job.yaml")
    padded = msgspec.structs.replace(job, train=msgspec.structs.replace(job.train, batching="padded"))
    found = []
    for described in (job, padded):
        task = PretrainTask.from_job(described, hold(run), ALONE, torch.device("cpu"))
        found.append([task.loss(task.model.eval(), batch).item() for batch in task.micro_batches(1, 0, 1)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_roberta_has_no_next_sentence(roberta, of_bytes, tmp_path):
    job = read_job(pretraining(tmp_path / "run", of_bytes, model={"init": str(roberta / "model")}) / "job.yaml")
    with pytest.raises(DataError, match=r"RoBERTa has no segments, and so no next sentence: say task mlm"):
        build(job, "masked and next")
