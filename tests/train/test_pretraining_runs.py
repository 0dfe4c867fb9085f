"""Pre-training as whole runs: any number of ranks, both back ends, a kill in between, the next phase, fine-tuning."""

import json
import os
import random
import shutil
import signal
from pathlib import Path

import msgspec
import pytest
import torch
import transformers
from holding import hold
from run_faults import slow_steps
from run_ranks import finish, job_log, lines, losses, make_run, run_to_end, start, state, wait_for

from bertjob.config.load import read_job
from bertjob.rundir.directory import RunDir
from bertjob.rundir.messages import Preparation
from bertjob.rundir.world import World
from bertjob.train.corpus.compare_shards import verify_shards
from bertjob.train.corpus.prepare import prepare
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.tasks.pretraining.task import PretrainTask

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "bird",
    "tree",
    "house",
    "river",
    "red",
    "old",
    "tall",
    "small",
    "saw",
    "found",
    "left",
    "and",
    "under",
    "near",
]
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", ".", "what", "did", "where"]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of words drawn at random, prepared."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(5)
    documents = [
        "\n".join(" ".join(draw.choices(WORDS, k=draw.randint(3, 12))) + " ." for _ in range(draw.randint(4, 20)))
        for _ in range(60)
    ]
    (folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    (folder / "vocab.txt").write_text("\n".join([*MARKS, *sorted(WORDS)]) + "\n")
    out = folder / "shards"
    vocab = str(folder / "vocab.txt")
    prepare(Preparation((str(folder / "text.txt"),), str(out), vocab=vocab, validation=0.2), lambda told: None)
    return out


def pretraining(folder: Path, shards: Path, **changes: object) -> Path:
    said = {
        "task": "pretrain",
        "data": {"shards": str(shards)},
        "model__vocab": None,
        "train__max_seq_length": 48,
        "pretraining": {"validation_samples": 20, "max_predictions_per_seq": 6},
    }
    return make_run(folder, **said | changes)


@pytest.fixture(scope="module")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = pretraining(tmp_path_factory.mktemp("runs") / "one", shards)
    assert run_to_end(run) == [0], job_log(run)
    return run


@pytest.mark.parametrize(("backend", "size"), [("torch", 2), ("torch", 4), ("deepspeed", 2)])
def test_losses_do_not_depend_on_ranks_and_back_end(finished, shards, tmp_path, backend, size):
    run = pretraining(tmp_path / "run", shards, backend=backend)
    assert run_to_end(run, size) == [0] * size, job_log(run)
    for (step, loss, _), (_, expected, _) in zip(losses(run), losses(finished), strict=True):
        assert loss == pytest.approx(expected, rel=1e-5), step
    found, alone = (json.loads((of / "eval.json").read_text()) for of in (run, finished))
    assert found["mlm_loss"] == pytest.approx(alone["mlm_loss"], rel=1e-5)
    assert found["masked_tokens"] == alone["masked_tokens"]


def test_after_a_kill_the_losses_are_bitwise_those_of_an_undisturbed_run(finished, shards, tmp_path):
    run = pretraining(tmp_path / "run", shards)
    ranks = start(run, fault=slow_steps)
    wait_for(lambda: lines(run) and lines(run)[-1]["step"] >= 6)
    for rank in ranks:
        rank.kill()
    assert finish(ranks) == [-signal.SIGKILL]
    assert run_to_end(run) == [0], job_log(run)
    assert losses(run) == losses(finished)


def put_off(run: Path, size: int, step: int) -> None:
    """Start the ranks, and have them stop with a checkpoint some time after step `step`."""
    ranks = start(run, size, fault=slow_steps)
    wait_for(lambda: losses(run) and losses(run)[-1][0] >= step)
    os.kill(ranks[-1].pid, signal.SIGUSR1)
    assert finish(ranks) == [85] * size, job_log(run)


@pytest.mark.parametrize("backend", ["torch", "deepspeed"])
def test_other_numbers_of_ranks_go_on_with_the_same_samples(finished, shards, tmp_path, backend):
    """The losses of single steps tell samples apart; a sample too many or too few shows in all that follow."""
    run = pretraining(tmp_path / "run", shards, backend=backend, checkpoint={"keep": 1, "keep_every": 2})
    put_off(run, 2, 3)
    put_off(run, 4, 7)
    assert run_to_end(run) == [0], job_log(run)
    for (step, loss, lr), (_, expected, expected_lr) in zip(losses(run), losses(finished), strict=True):
        assert loss == pytest.approx(expected, rel=1e-5), step
        assert lr == expected_lr
    said = [line.partition(", on ")[2].partition(":")[0] for line in job_log(run).splitlines() if " began: " in line]
    assert said == ["4 ranks what 2 ranks began", "1 rank what 4 ranks began"]
    for step in range(2, 13, 2):  # each is a model to start another run from
        assert (run / "checkpoints" / f"step-{step:06d}" / "model" / "config.json").is_file()


def test_parts_of_an_optimizer_do_not_go_on_with_other_numbers_of_ranks(shards, tmp_path):
    zero = {"backend": "deepspeed", "deepspeed__zero_optimization": {"stage": 1}}
    run = pretraining(tmp_path / "run", shards, **zero)
    put_off(run, 2, 2)
    before = losses(run)
    assert run_to_end(run) == [1]
    assert "was written by 2 ranks, here are 1" in state(run)["error"]
    assert "go on with 2 ranks" in state(run)["error"]
    assert losses(run) == before


def test_the_model_is_transformers_own_and_says_what_it_is(finished):
    model, loading = transformers.BertForPreTraining.from_pretrained(finished / "model", output_loading_info=True)
    assert not any(loading[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.config.architectures == ["BertForPreTraining"]
    assert (finished / "model" / "tokenizer.json").is_file()
    evaluation = json.loads((finished / "eval.json").read_text())
    assert {"mlm_loss", "mlm_accuracy", "nsp_accuracy", "nsp_chance", "masked_tokens", "samples"} == evaluation.keys()
    assert 0 <= evaluation["nsp_accuracy"] <= 100
    assert 50 <= evaluation["nsp_chance"] < 100


def test_the_next_phase_and_fine_tuning_start_from_what_was_trained(finished, shards, tmp_path):
    init = {"model": {"init": str(finished / "model")}}
    second = pretraining(tmp_path / "second", shards, **init, train__max_seq_length=64, train__max_steps=3)
    assert run_to_end(second) == [0], job_log(second)
    assert losses(second)[0][1] < losses(finished)[0][1]  # its weights are not random any more
    tuned = make_run(tmp_path / "tuned", **init, train__max_steps=2)
    assert run_to_end(tuned) == [0], job_log(tuned)
    assert json.loads((tuned / "hparams.json").read_text())["job"]["task"] == "squad"


def test_activation_checkpointing_changes_nothing_but_memory(finished, shards, tmp_path):
    run = pretraining(tmp_path / "run", shards, model__activation_checkpointing=True)
    assert run_to_end(run) == [0], job_log(run)
    for (_, loss, _), (_, expected, _) in zip(losses(run), losses(finished), strict=True):
        assert loss == pytest.approx(expected, rel=1e-6)


def test_an_evaluation_on_the_way_changes_nothing_and_stays_when_the_run_goes_on(finished, shards, tmp_path):
    run = pretraining(tmp_path / "run", shards, evaluation__every_steps=3)
    ranks = start(run, fault=slow_steps)
    wait_for(lambda: lines(run) and lines(run)[-1]["step"] >= 7)
    for rank in ranks:
        rank.kill()
    finish(ranks)
    assert not (run / "eval.json").exists()  # which is the last word
    assert run_to_end(run) == [0], job_log(run)
    assert losses(run) == losses(finished)
    assert [line["step"] for line in lines(run) if "mlm_loss" in line] == [3, 6, 9, 12]


def test_lamb_tells_its_trust_ratios(shards, tmp_path):
    run = pretraining(tmp_path / "run", shards, task="mlm", optimizer={"name": "lamb", "lr": 4e-3}, train__max_steps=2)
    assert run_to_end(run) == [0], job_log(run)
    line = lines(run)[0]
    assert 0.0799 <= line["trust_min"] <= line["trust_mean"] <= line["trust_max"] <= 1
    assert "nsp_accuracy" not in json.loads((run / "eval.json").read_text())


@pytest.mark.parametrize("kind", ["pretrain", "mlm"])
def test_packed_and_padded_batches_have_the_same_loss(shards, tmp_path, kind):
    run = pretraining(tmp_path / "run", shards, task=kind, model__dropout=0.0)
    job = read_job(run / "job.yaml")
    padded = msgspec.structs.replace(job, train=msgspec.structs.replace(job.train, batching="padded"))
    alone = Ranks(World(0, 1, 0, 1, "test"), None)  # type: ignore[arg-type]  # one rank sends nothing
    found = []
    for described in (job, padded):
        task = PretrainTask.from_job(described, hold(run), alone, torch.device("cpu"))
        found.append([task.loss(task.model.eval(), batch).item() for batch in task.micro_batches(3, 0, 1)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"shards": "nowhere"}}, "holds no samples of pre-training"),
        ({"train__max_steps": None}, "task pretrain counts steps"),
    ],
)
def test_what_cannot_be_trained_is_one_line(shards, tmp_path, changes, words):
    run = pretraining(tmp_path / "run", shards, model__vocab=str(shards / "tokenizer.json"), **changes)
    assert run_to_end(run)[0] != 0
    assert words in job_log(run)
    assert "Traceback" not in job_log(run)


def truncated(shards: Path, folder: Path) -> Path:
    """A copy of shards, and which of its files is to be cut."""
    shutil.copytree(shards, folder)
    return folder / "shards" / "00000.tokens.npy"


@pytest.mark.parametrize("size", [1, 2])
def test_a_shard_that_is_cut_while_it_is_read_is_named(shards: Path, tmp_path: Path, size: int) -> None:
    file = truncated(shards, tmp_path / "shards")
    run = pretraining(tmp_path / "run", tmp_path / "shards", train__max_steps=400, checkpoint__every_steps=1000)
    (run / "logs").mkdir()
    ranks = start(run, size)
    wait_for(lambda: len(losses(run)) >= 2 and list((run / "logs").glob("*.shards")))
    before = file.stat().st_size
    os.truncate(file, 0)
    assert finish(ranks) == [1] * size, job_log(run)
    assert f"{file}: was cut from {before} to 0 bytes while it was in use" in state(run)["error"]
    assert state(run)["phase"] == "failed"


def test_a_damaged_shard_is_named_while_the_training_is_at_work(shards: Path, tmp_path: Path) -> None:
    file = truncated(shards, tmp_path / "shards")
    with file.open("r+b") as content:
        content.seek(-2, os.SEEK_END)
        content.write(b"\0\0")  # a token that there is
    run = pretraining(tmp_path / "run", tmp_path / "shards", train__max_steps=400)
    assert run_to_end(run, 2) == [1, 1], job_log(run)
    assert state(run)["error"].endswith("shards/00000: is not what was written (SHA-256 differs); prepare it again")
    assert not list((run / "logs").glob("*.shards"))


def test_a_node_compares_the_shards_once_in_a_run(finished: Path, shards: Path) -> None:
    (note,) = (finished / "logs").glob("*.shards")
    job, world = read_job(RunDir(finished).job), World(0, 1, 0, 1, "test")
    assert verify_shards(job, RunDir(finished), world, pytest.fail) is None
    note.unlink()
    thread = verify_shards(job, RunDir(finished), world, pytest.fail)
    assert thread is not None
    thread.join()
    assert note.exists()
