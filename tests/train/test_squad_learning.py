"""The demo set's score comes from reading: without training, or trained on shuffled questions, there is none."""

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from holding import hold

from bertjob.config.job import Data, Job
from bertjob.config.load import load_job
from bertjob.formats.squad import demo_set
from bertjob.rundir.world import World
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.rng import seed_micro_batch
from bertjob.train.schedule import learning_rate
from bertjob.train.tasks.squad.task import SquadTask
from bertjob.train.trainer import make_backend

CPU = torch.device("cpu")
ALONE = World(0, 1, 0, 1, "test")
LONGEST_CONTEXT = 75  # words


def task_of(job: Job, folder: Path) -> SquadTask:
    """The job's task on shuffled questions."""
    folder.mkdir()
    job = msgspec.structs.replace(job, data=Data(train=str(shuffled_questions(folder)), dev="demo"))
    ranks = Ranks(ALONE, None)  # type: ignore[arg-type]  # one rank sends nothing
    return SquadTask.from_job(job, hold(folder), ranks, CPU)


def f1_after_training(task: SquadTask) -> float:
    """F1 on the demo set's dev part."""
    job = task.job
    accumulation = job.train.global_batch // job.train.micro_batch
    backend = make_backend(task.model, job, ALONE, CPU, accumulation)
    backend.model.train()
    for step in range(task.total_steps):
        for index, batch in enumerate(task.micro_batches(step, 0, 1)):
            seed_micro_batch(job.seed, step, index)
            backend.backward(task.loss(backend.model, batch), last=index == accumulation - 1)
        backend.step(learning_rate(job.schedule, job.optimizer.lr, step, task.total_steps))
    return task.evaluate(backend.model)["f1"]


def shuffled_questions(folder: Path) -> Path:
    """The training part's shorter paragraphs, each with questions of others."""
    squad: dict[str, Any] = json.loads(demo_set("train"))
    paragraphs = [paragraph for article in squad["data"] for paragraph in article["paragraphs"]]
    paragraphs = [paragraph for paragraph in paragraphs if len(paragraph["context"].split()) <= LONGEST_CONTEXT]
    asked = [question for paragraph in paragraphs for question in paragraph["qas"]]
    texts = [question["question"] for question in asked]
    random.Random(0).shuffle(texts)
    for question, text in zip(asked, texts, strict=True):
        question["question"] = text
    file = folder / "train.json"
    file.write_text(json.dumps({"version": "1.1", "data": [{"title": "", "paragraphs": paragraphs}]}))
    return file


@pytest.mark.slow
def test_a_model_that_was_not_trained_or_trained_with_shuffled_questions_scores_far_lower(tmp_path: Path) -> None:
    """Far lower than the 80 that tests/train/test_main_job.py wants of the same recipe."""
    job = load_job("squad-demo", ["train.epochs=1.5"]).value
    shuffled = task_of(job, tmp_path / "shuffled")
    assert shuffled.evaluate(shuffled.model)["f1"] < 20
    assert f1_after_training(shuffled) < 30
