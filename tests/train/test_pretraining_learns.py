"""Pre-training on real text teaches something: from books to answers, in seconds; `make proof` does it at length.

A vocabulary of 400 pieces is nearly one of letters, so that a network of two narrow layers learns within 500 steps what
stands beside what.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from questions import first_questions
from run_ranks import finish, job_log, losses, make_run, start

from bertjob.rundir.messages import Preparation
from bertjob.train.corpus.prepare import prepare
from bertjob.train.corpus.statistics import facts

BOOKS = ("Frankenstein_84.txt", "The-Adventures-of-Sherlock-Holmes_1661.txt", "The-Voyage-of-the-Beagle_944.txt")
SIZES = {"init": "random", "layers": 2, "hidden": 64, "heads": 2, "ff": 256, "initializer_range": 0.06, "dropout": 0.0}


@pytest.fixture(scope="module")
def corpus(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three books, prepared with a vocabulary of their own."""
    out = tmp_path_factory.mktemp("corpus") / "shards"
    books = tuple(str(test_data / "corpora" / "gutenberg" / book) for book in BOOKS)
    prepare(Preparation(books, str(out), train_vocab=400, validation=0.1), lambda told: None)
    return out


def trained(folder: Path, task: str, model: dict[str, Any], data: dict[str, Any], steps: int, **train: int) -> Path:
    """A finished run."""
    run = make_run(
        folder,
        task=task,
        model=model,
        data=data,
        optimizer={"lr": 5e-3, "betas": [0.9, 0.98]},
        train={"max_steps": steps, "log_every": 1, "epochs": 99, **train},
        pretraining={"validation_samples": 200} if task == "pretrain" else {},
        checkpoint={},
    )
    assert finish(start(run), seconds=600) == [0], job_log(run)
    return run


@pytest.fixture(scope="module")
def phases(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Runs on short samples, then on longer ones."""
    folder, data = tmp_path_factory.mktemp("phases"), {"shards": str(corpus)}
    batch = {"global_batch": 8, "micro_batch": 8}
    short = trained(folder / "short", "pretrain", SIZES, data, 500, max_seq_length=128, **batch)
    long = trained(
        folder / "long",
        "pretrain",
        {"init": str(short / "model"), "dropout": 0.0},
        data,
        10,
        max_seq_length=256,
        **batch,
    )
    return short, long


def evaluation(run: Path) -> dict[str, float]:
    return json.loads((run / "eval.json").read_text())


def test_masked_tokens_are_told_better_than_by_their_frequency(corpus, phases):
    entropy = facts(corpus)["unigram_entropy"]
    for run in phases:
        assert evaluation(run)["mlm_loss"] < entropy - 0.15


def test_questions_are_learned_faster_from_what_was_trained(corpus, phases, test_data, tmp_path):
    for name, file in (("train", "train-v1.1.part.json"), ("dev", "dev-v1.1.json")):
        first_questions(test_data / "squad" / file, tmp_path / f"{name}.json", 128)
    data = {name: str(tmp_path / f"{name}.json") for name in ("train", "dev")}
    starts = {
        "trained": {"init": str(phases[1] / "model"), "dropout": 0.0},
        "random": {**SIZES, "vocab": str(corpus / "tokenizer.json")},
    }
    ends = {}
    for name, model in starts.items():
        run = trained(tmp_path / name, "squad", model, data, 40, global_batch=16, micro_batch=16, max_seq_length=384)
        ends[name] = sum(loss for _, loss, _ in losses(run)[-10:]) / 10
    assert ends["trained"] < ends["random"] - 0.05
