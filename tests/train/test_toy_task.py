"""A task that a test registers goes all the way: a row, a file, and a name that jobs may say are enough."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).parent
BERTJOB = str(Path(sys.executable).with_name("bertjob"))
WORDS = ["apple", "blood", "rose", "sky", "grass", "snow"]
"""The first half is red."""
Bertjob = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a job `red.yaml`, and a sitecustomize.py by which all Pythons that start here know the task."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "start").mkdir()
    (folder / "start/sitecustomize.py").write_text("import toy_task\ntoy_task.register()\n")
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    draw = random.Random(3)
    for part, number in (("train", 40), ("dev", 10)):
        drawn = [(label, draw.choices(WORDS[:3] if label else WORDS[3:], k=4)) for label in [0, 1] * (number // 2)]
        (folder / f"{part}.txt").write_text("".join(f"{label} {' '.join(words)}\n" for label, words in drawn))
    job: dict[str, Any] = {
        "name": "red",
        "task": "red",
        "precision": "fp32",
        "model": {"vocab": "vocab.txt", "layers": 1, "hidden": 16, "heads": 2},
        "data": {"train": "train.txt", "dev": "dev.txt"},
        "train": {"max_steps": 2, "global_batch": 8, "micro_batch": 4, "log_every": 1},
        "optimizer": {"lr": 1e-3},
    }
    (folder / "red.yaml").write_text(yaml.safe_dump(job))
    return folder


@pytest.fixture(scope="module")
def bertjob(folder: Path) -> Bertjob:
    """Calls bertjob in the folder."""
    paths = os.pathsep.join((str(folder / "start"), str(HERE)))
    environment = {**os.environ, "PYTHONPATH": paths, "XDG_STATE_HOME": str(folder / "state"), "COLUMNS": "160"}

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BERTJOB, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return call


@pytest.fixture(scope="module")
def finished(folder: Path, bertjob: Bertjob) -> subprocess.CompletedProcess[str]:
    """What `bertjob run` said of the two-step training."""
    return bertjob("run", "red.yaml", "--run-dir", "runs/red-1")


def test_it_is_planned_and_has_a_script(bertjob: Bertjob) -> None:
    done = bertjob("script", "red.yaml", "--nodes", "2", "--gpus-per-node", "1")
    assert done.returncode == 0, done.stderr
    assert "\n# red: red\n" in done.stdout
    assert "\ntask: red\n" in done.stdout  # its job.yaml
    assert "\npretraining:" not in done.stdout


def test_its_own_checks_refuse_a_job(bertjob: Bertjob) -> None:
    done = bertjob("script", "red.yaml", "--set", "data.train=null")
    assert (done.returncode, done.stdout) == (2, "")
    assert "data.train is required: a file of lines, each with its label" in done.stderr
    done = bertjob("script", "red.yaml", "--set", "data.shards=x")
    assert "data.shards: task red reads data.train and data.dev" in done.stderr


def test_doctor_knows_what_its_ranks_do_and_what_brings_a_missing_file(bertjob: Bertjob) -> None:
    done = bertjob("doctor", "red.yaml", "--site", "local", "--json", "--set", "data.dev=missing.txt")
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert found["plan"]["finding"].endswith("1 ranks look for red things")
    assert found["data.train"]["level"] == "ok"
    assert found["data.dev"]["finding"].endswith("there is no such file or folder; write one")


def test_its_samples_are_counted_by_its_own_function(folder: Path, bertjob: Bertjob) -> None:
    (folder / "site.yaml").write_text("name: s\ngpu: {memory_gib: 32, tflops: 100, tflops_fp32: 10}\n")
    words = ("--site", "site.yaml", "--gpus-per-node", "1", "--set", "train.max_steps=null", "--set", "train.epochs=3")
    done = bertjob("estimate", "red.yaml", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 15  # 3 epochs of 40 lines in batches of 8
    assert "red at s: 40 lines, 1 node, 1 rank" in bertjob("estimate", "red.yaml", *words).stderr


def test_it_trains_and_shows_its_own_metrics(folder: Path, finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, finished.stderr
    run = folder / "runs/red-1"
    state = json.loads((run / "state.json").read_text())
    evaluation = json.loads((run / "eval.json").read_text())
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert (state["phase"], state["step"], state["total_steps"]) == ("done", 2, 2)
    assert [line["step"] for line in steps if "loss" in line] == [1, 2]
    assert list(state["metrics"]) == ["accuracy", "entropy"]  # those of the row, in its order
    assert evaluation == {**state["metrics"], "chance": 50.0, "lines": 10}
    shown = f"accuracy {evaluation['accuracy']:.2f}  cross-entropy {evaluation['entropy']:.3f}"
    assert finished.stderr.splitlines()[-2:] == ["the model in red-1 has seen red", shown]
    assert json.loads((run / "model/config.json").read_text())["architectures"] == ["BertForSequenceClassification"]
    resolved = yaml.safe_load((run / "job.yaml").read_text())
    assert resolved["task"] == "red"
    assert "pretraining" not in resolved


def test_status_shows_its_metrics(folder: Path, bertjob: Bertjob, finished: object) -> None:
    metrics = json.loads((folder / "runs/red-1/state.json").read_text())["metrics"]
    head, line = bertjob("status", "red-1").stdout.splitlines()
    assert head.endswith("acc H")
    assert line.endswith(f"{metrics['accuracy']:.1f} {metrics['entropy']:.2f}")
    (row,) = json.loads(bertjob("status", "red-1", "--json").stdout)
    assert row["metrics"] == metrics
    assert (row["exact_match"], row["f1"]) == (None, None)


def test_run_gives_its_metrics_to_programs(bertjob: Bertjob, folder: Path, finished: object) -> None:
    done = bertjob("run", "red.yaml", "--run-dir", "runs/red-1", "--json")  # done already: nothing is trained again
    assert json.loads(done.stdout) == {
        "run_dir": str(folder / "runs/red-1"),
        **json.loads((folder / "runs/red-1/state.json").read_text())["metrics"],
    }
