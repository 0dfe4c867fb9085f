import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import torch.distributed as dist
from holding import hold
from torch.multiprocessing.spawn import spawn

from bertjob.config.job import Data, Job, Train
from bertjob.errors import DataError, SpecError
from bertjob.formats.squad import SquadSet
from bertjob.rundir.directory import RunDir
from bertjob.rundir.world import World
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.tasks.squad.batches import packed
from bertjob.train.tasks.squad.task import SquadTask

CPU = torch.device("cpu")


def alone() -> Ranks:
    return Ranks(World(0, 1, 0, 1, "test"), None)  # type: ignore[arg-type]  # one rank sends nothing


def changed(job: Job, **train: object) -> Job:
    return msgspec.structs.replace(job, train=msgspec.structs.replace(job.train, **train))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this module are, with one cache."""
    return tmp_path_factory.mktemp("runs")


def task_of(job: Job, folder: Path, name: str = "run") -> SquadTask:
    run_dir = RunDir(folder / name)
    run_dir.path.mkdir(exist_ok=True)
    return SquadTask.from_job(job, hold(run_dir), alone(), CPU)


def files_of(
    run_dir: RunDir,
) -> tuple[Mapping[str, str], Mapping[str, list[Mapping[str, object]]], Mapping[str, float]]:
    predictions, nbest, evaluation = (
        json.loads(path.read_text()) for path in (run_dir.predictions, run_dir.nbest, run_dir.evaluation)
    )
    return predictions, nbest, evaluation


def test_an_evaluation_answers_every_question(tiny_job: Job, demo_dev: SquadSet, folder: Path) -> None:
    task = task_of(tiny_job, folder)
    task.model.train()
    metrics = task.evaluate(task.model)
    assert task.model.training
    predictions, nbest, evaluation = files_of(task.held.run_dir)
    assert list(predictions) == [question.id for question in demo_dev.questions]
    assert {"exact_match", "f1", "total"} <= evaluation.keys()
    assert metrics == {"exact_match": evaluation["exact_match"], "f1": evaluation["f1"]}
    assert evaluation["total"] == len(demo_dev.questions)
    for question in demo_dev.questions:
        context = demo_dev.paragraphs[question.paragraph].context
        best = nbest[question.id]
        assert best[0]["text"] == predictions[question.id] != ""
        assert 1 <= len(best) <= 20
        assert all(str(one["text"]) in context for one in best)
        assert sum(float(str(one["probability"])) for one in best) == pytest.approx(1.0)
        scores = [float(str(one["start_logit"])) + float(str(one["end_logit"])) for one in best]
        assert scores == sorted(scores, reverse=True)
    assert {path.name for path in task.held.run_dir.path.iterdir()} == {
        "predictions.json", "nbest_predictions.json", "eval.json", "lease.json"
    }  # fmt: skip


def test_an_untrained_model_knows_nothing(tiny_job: Job, folder: Path) -> None:
    task = task_of(tiny_job, folder)
    assert task.evaluate(task.model)["f1"] < 20


def test_packed_pools_and_padded_agree(tiny_job: Job, folder: Path) -> None:
    answers, losses = {}, {}
    for batching in ("packed", "pools", "padded"):
        task = task_of(changed(tiny_job, batching=batching), folder, batching)
        task.model.eval()
        task.evaluate(task.model)
        answers[batching] = files_of(task.held.run_dir)
        if batching != "pools":
            with torch.no_grad():
                losses[batching] = [task.loss(task.model, batch).item() for batch in task.micro_batches(3, 0, 1)]
    assert losses["packed"] == pytest.approx(losses["padded"], abs=1e-5)
    for batching in ("pools", "padded"):
        assert answers[batching][0] == answers["packed"][0]
        assert answers[batching][2] == answers["packed"][2]


def test_the_loss_is_that_of_transformers_where_nothing_is_padded(tiny_job: Job, folder: Path) -> None:
    task = task_of(tiny_job, folder)
    task.model.eval()
    batch = packed(task.features, np.flatnonzero(task.features.start)[:1])
    theirs = task.model(input_ids=batch.input_ids, token_type_ids=batch.token_type_ids, **batch.targets).loss
    assert task.loss(task.model, batch).item() == pytest.approx(theirs.item(), abs=1e-6)


@pytest.mark.parametrize("batching", ["packed", "pools", "padded"])
def test_micro_batches_are_the_same_on_1_2_and_4_ranks(batching: str, tiny_job: Job, folder: Path) -> None:
    task = task_of(changed(tiny_job, batching=batching), folder)
    for step in (0, task.total_steps - 1):
        alone = [batch.input_ids.tolist() for batch in task.micro_batches(step, 0, 1)]
        assert len(alone) == 4
        for world_size in (2, 4):
            shares = [task.micro_batches(step, rank, world_size) for rank in range(world_size)]
            together = [batch.input_ids.tolist() for batches in zip(*shares, strict=True) for batch in batches]
            assert together == alone


def test_steps_are_counted_in_samples_not_questions(tiny_job: Job, folder: Path) -> None:
    task = task_of(changed(tiny_job, max_seq_length=96, epochs=1.5), folder)
    samples = len(task.features)
    assert samples > len(np.unique(task.features.question))
    assert task.total_steps == -(-3 * samples // 24)
    assert task_of(changed(tiny_job, max_steps=7), folder).total_steps == 7


def test_a_job_without_dev_questions_evaluates_nothing(tiny_job: Job, folder: Path) -> None:
    job = msgspec.structs.replace(tiny_job, data=Data(train="demo"))
    task = task_of(job, folder, "no-dev")
    assert task.evaluate(task.model) == {}
    assert [path.name for path in task.held.run_dir.path.iterdir()] == ["lease.json"]


def test_a_job_without_training_data_or_room_is_refused(tiny_job: Job, folder: Path) -> None:
    with pytest.raises(SpecError, match=r"data\.train is not said"):
        task_of(msgspec.structs.replace(tiny_job, data=Data()), folder)
    with pytest.raises(SpecError, match=r"train\.max_seq_length 16 leaves no room"):
        task_of(msgspec.structs.replace(tiny_job, train=Train(max_seq_length=16)), folder)
    with pytest.raises(DataError, match=r"/none\.json: No such file"):
        task_of(msgspec.structs.replace(tiny_job, data=Data(train="/none.json")), folder)


def test_predictions_that_cannot_be_written_are_a_data_error(tiny_job: Job, folder: Path) -> None:
    task = task_of(tiny_job, folder, "gone")
    shutil.rmtree(task.held.run_dir.path)
    with pytest.raises(DataError, match="the predictions cannot be written: No such file"):
        task.evaluate(task.model)


def _rank(rank: int, size: int, job: Job, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting{size}", rank=rank, world_size=size)
    ranks = Ranks(World(rank, size, rank, size, "test"), dist.group.WORLD)  # type: ignore[arg-type]
    run_dir = RunDir(folder / f"ranks{size}")
    if ranks.first:
        run_dir.path.mkdir()
    ranks.barrier()
    task = SquadTask.from_job(job, hold(run_dir, rank), ranks, CPU)
    metrics = task.evaluate(task.model)
    assert bool(metrics) == (rank == 0)
    ranks.barrier()
    dist.destroy_process_group()


def test_two_ranks_evaluate_as_one_does(tiny_job: Job, folder: Path, tmp_path: Path) -> None:
    job = msgspec.structs.replace(tiny_job, data=Data(train="demo", dev="demo", cache=str(tmp_path / "cache")))
    spawn(_rank, args=(2, job, folder), nprocs=2)  # type: ignore[no-untyped-call]
    task = task_of(tiny_job, folder, "alone")
    task.evaluate(task.model)
    predictions, nbest, evaluation = files_of(task.held.run_dir)
    of_two = files_of(RunDir(folder / "ranks2"))
    assert of_two[0] == predictions
    assert list(of_two[0]) == list(predictions)
    assert of_two[2] == evaluation
    assert of_two[1].keys() == nbest.keys()
