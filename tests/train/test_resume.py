"""A run that was killed, stopped or damaged goes on as if nothing had happened."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import run_faults
from run_ranks import finish, job_log, lines, losses, make_run, run_to_end, start, state, wait_for
from transformers import BertForQuestionAnswering

WAYS = [("torch", 1), ("torch", 2), ("torch", 4), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 4)]


def job(backend: str, size: int) -> dict:
    """Keys of the job; on two ranks DeepSpeed's optimizer is in parts."""
    zero = {"deepspeed__zero_optimization": {"stage": 1}} if (backend, size) == ("deepspeed", 2) else {}
    return {"backend": backend, **zero}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """A run that nobody disturbed, for each way."""
    runs = {}
    folder = tmp_path_factory.mktemp("runs")
    for backend, size in WAYS:
        run = make_run(folder / f"{backend}-{size}", **job(backend, size))
        assert run_to_end(run, size) == [0] * size, job_log(run)
        runs[backend, size] = run
    return runs


def kill_at(run: Path, size: int, step: int, seconds: float) -> None:
    """Start the ranks, and kill them some time after they have reported a step."""
    ranks = start(run, size, fault=run_faults.slow_steps)
    wait_for(lambda: lines(run) and lines(run)[-1]["step"] >= step)
    time.sleep(seconds)
    for rank in ranks:
        rank.kill()
    assert finish(ranks) == [-signal.SIGKILL] * size


def test_losses_do_not_depend_on_ranks_and_back_end_though_there_is_dropout(finished):
    reference = losses(finished["torch", 1])
    assert [step for step, _, _ in reference] == list(range(1, 13))
    for way, run in finished.items():
        for (step, loss, lr), (_, expected, expected_lr) in zip(losses(run), reference, strict=True):
            assert loss == pytest.approx(expected, rel=1e-5), (way, step)
            assert lr == expected_lr


@pytest.mark.parametrize(("backend", "size"), [way for way in WAYS if way[1] < 4])
def test_after_kill_at_a_random_moment_the_losses_are_bitwise_those_of_an_undisturbed_run(
    finished, tmp_path, backend, size
):
    draw = random.Random(f"{backend} {size}")
    run = make_run(tmp_path / "run", **job(backend, size))
    kill_at(run, size, draw.randint(5, 9), draw.uniform(0.0, 0.1))
    assert run_to_end(run, size) == [0] * size, job_log(run)
    assert losses(run) == losses(finished[backend, size])
    weights = [path / "model" / "model.safetensors" for path in (run, finished[backend, size])]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert (run / "eval.json").read_bytes() == (finished[backend, size] / "eval.json").read_bytes()


def test_killed_again_and_again_it_still_comes_to_the_same_end(finished, tmp_path):
    run = make_run(tmp_path / "run", checkpoint__every_steps=1)
    draw = random.Random(5)
    for step in (2, 4, 7, 9):
        kill_at(run, 2, step, draw.uniform(0.0, 0.15))
    assert run_to_end(run, 2) == [0, 0], job_log(run)
    assert losses(run) == losses(finished["torch", 2])


def test_usr1_to_one_rank_puts_all_off_with_a_checkpoint(finished, tmp_path):
    run = make_run(tmp_path / "run", checkpoint__every_steps=100)
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: len(losses(run)) >= 3)
    os.kill(ranks[1].pid, signal.SIGUSR1)
    assert finish(ranks) == [85, 85]
    stopped = state(run)
    assert (stopped["phase"], stopped["exit_code"]) == ("checkpointed", 85)
    assert (run / "checkpoints" / "latest").read_text() == f"step-{stopped['step']:06d}\n"
    assert 3 <= stopped["step"] < 12
    assert run_to_end(run, 2) == [0, 0]
    assert losses(run) == losses(finished["torch", 2])
    assert f"goes on from checkpoint step-{stopped['step']:06d}" in job_log(run)


def test_term_twice_is_no_worse_than_once(tmp_path):
    run = make_run(tmp_path / "run", checkpoint__every_steps=100)
    ranks = start(run, 2, fault=run_faults.slow_steps)
    wait_for(lambda: len(losses(run)) >= 2)
    for _ in range(2):
        for rank in ranks:
            os.kill(rank.pid, signal.SIGTERM)
        time.sleep(0.02)
    assert finish(ranks) == [85, 85]
    assert run_to_end(run, 2) == [0, 0]
    assert len(losses(run)) == 12


@pytest.mark.parametrize("receiver", [0, 1])
def test_a_signal_while_features_are_made_ends_all_at_once_and_saves_nothing(tmp_path, receiver):
    run = make_run(tmp_path / "run")
    ranks = start(run, 2, fault=run_faults.slow_features)
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == "features")
    time.sleep(0.3)
    os.kill(ranks[receiver].pid, signal.SIGUSR1)
    assert finish(ranks, seconds=10) == [85, 85]
    assert (state(run)["phase"], state(run)["exit_code"]) == ("checkpointed", 85)
    assert not (run / "checkpoints").exists()
    assert "stopped by a signal (SIGUSR1); start again to go on" in job_log(run)


def test_stopped_in_the_evaluation_it_evaluates_at_the_next_start_without_training(finished, tmp_path):
    run = make_run(tmp_path / "run")
    ranks = start(run, 2, fault=run_faults.slow_answers)
    wait_for(lambda: (run / "state.json").exists() and state(run)["phase"] == "evaluating")
    os.kill(ranks[1].pid, signal.SIGTERM)
    assert finish(ranks, seconds=10) == [85, 85]
    trained = lines(run)
    assert run_to_end(run, 2) == [0, 0]
    assert lines(run)[:-1] == trained
    assert lines(run)[-1]["f1"] == state(run)["metrics"]["f1"] == json.loads((run / "eval.json").read_text())["f1"]


def test_a_finished_run_started_again_says_so_and_does_nothing(finished):
    run = finished["torch", 2]
    before = {path: path.read_bytes() for path in (run / "metrics.jsonl", run / "eval.json", run / "hparams.json")}
    said = state(run)
    assert run_to_end(run, 2) == [0, 0]
    assert job_log(run).splitlines()[-1] == f"this run is done: {run}"
    assert {path: path.read_bytes() for path in before} == before
    assert state(run)["time"] > said["time"]  # else a local run's word would be older than its newest start
    assert {**state(run), "time": 0, "pid": 0} == {**said, "time": 0, "pid": 0}


def test_a_finished_run_without_its_evaluation_evaluates_again(finished, tmp_path):
    run = finished["deepspeed", 1]
    evaluation = (run / "eval.json").read_bytes()
    before = losses(run)
    (run / "eval.json").unlink()
    assert run_to_end(run, 1) == [0]
    assert (run / "eval.json").read_bytes() == evaluation
    assert losses(run) == before
    assert len(lines(run)) == 13


def test_killed_before_the_export_it_exports_and_does_not_evaluate_again(finished):
    run = finished["torch", 1]
    former = run / "former"
    (run / "model").rename(former)
    scores = {"exact_match": 1.0, "f1": 2.0}
    (run / "eval.json").write_text(json.dumps(scores))
    assert run_to_end(run, 1) == [0]
    assert json.loads((run / "eval.json").read_text()) == scores
    assert state(run)["metrics"] == scores
    assert (run / "model" / "model.safetensors").read_bytes() == (former / "model.safetensors").read_bytes()


def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(finished, tmp_path):
    run = make_run(tmp_path / "run")
    kill_at(run, 1, 9, 0.0)
    newest = run / "checkpoints" / "step-000008"
    wait_for(newest.exists, seconds=1)
    file = newest / "backend" / "torch.pt"
    os.truncate(file, file.stat().st_size // 2)
    assert run_to_end(run, 1) == [0]
    said = [line for line in job_log(run).splitlines() if line.startswith("warning: checkpoint step-000008")]
    assert len(said) == 1
    assert "backend/torch.pt has" in said[0]
    assert "training goes on from 4" in said[0]
    assert losses(run) == losses(finished["torch", 1])


@pytest.mark.parametrize("backend", ["torch", "deepspeed"])
def test_checkpoints_and_the_trained_model_load_with_transformers(finished, backend):
    run = finished[backend, 2]
    for folder in (run / "model", run / "checkpoints" / "step-000012" / "model"):
        _, loading = BertForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
        assert not any(loading.values()), loading
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["latest", "step-000008", "step-000012"]


def test_hparams_say_what_was_resolved(finished):
    hparams = json.loads((finished["deepspeed", 2] / "hparams.json").read_text())
    assert hparams["world_size"] == 2
    assert (hparams["global_batch"], hparams["micro_batch"], hparams["accumulation"]) == (8, 2, 2)
    assert hparams["total_steps"] == 12
    assert hparams["deepspeed_config"]["gradient_accumulation_steps"] == 2
    assert hparams["versions"].keys() >= {"bertjob", "torch", "transformers", "deepspeed", "numpy", "python"}
    assert len(hparams["devices"]) == 2


def test_a_job_with_another_seed_does_not_go_on_from_the_checkpoint(finished, tmp_path):
    run = make_run(tmp_path / "run", train__max_steps=4)
    assert run_to_end(run, 1) == [0]
    hparams = (run / "hparams.json").read_bytes()
    make_run(run, train__max_steps=4, seed=8)
    (run / "eval.json").unlink()
    assert run_to_end(run, 1) == [1]
    assert "was made with seed 7, the job now says 8: start a new run" in state(run)["error"]
    assert (run / "hparams.json").read_bytes() == hparams
