"""The main job as a person runs it: one command, and the scores it must reach."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from questions import first_questions

BERTJOB = str(Path(sys.executable).with_name("bertjob"))


def run(folder: Path, *words: str) -> dict[str, Any]:
    """`bertjob run WORDS --json` in an empty folder: its result."""
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    done = subprocess.run(
        [BERTJOB, "run", *words, "--json"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result | {"shown": done.stderr}


@pytest.mark.slow
def test_the_demo_reaches_80_and_shows_three_answers(tmp_path: Path) -> None:
    result = run(tmp_path, "squad-demo")
    assert result["exact_match"] >= 80
    assert result["f1"] >= 80
    assert result["shown"].count("\nA  ") == 3
    run_dir = Path(result["run_dir"])
    assert json.loads((run_dir / "eval.json").read_text())["f1"] == result["f1"]
    assert json.loads((run_dir / "hparams.json").read_text())["world_size"] == 1
    steps = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert all({"step", "loss", "lr", "samples_per_second"} <= set(step) for step in steps if "loss" in step)
    assert any((run_dir / "tb").iterdir())


@pytest.mark.slow
def test_1600_questions_of_real_squad_and_one_epoch_reach_f1_of_40(tmp_path: Path, test_data: Path) -> None:
    train = first_questions(test_data / "squad/train-v1.1.part.json", tmp_path / "train.json", 1600)
    dev = first_questions(test_data / "squad/dev-v1.1.json", tmp_path / "dev.json", 300)
    recipe = ("model.init=demo", "train.epochs=1", "train.global_batch=8", "train.micro_batch=8", "optimizer.lr=4e-4")
    settings = [f"--set={setting}" for setting in (f"data.train={train}", f"data.dev={dev}", *recipe)]
    assert run(tmp_path, "squad", *settings)["f1"] >= 40
