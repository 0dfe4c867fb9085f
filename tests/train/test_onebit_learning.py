"""1-bit Adam learns questions as Adam does; tests/bench/onebit_squad.py asks both other questions than they learnt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from onebit_learning_ranks import RANKS
from questions import first_questions


@pytest.mark.slow
def test_two_ranks_learn_questions_by_heart_as_well_with_one_bit_as_with_adam(test_data: Path, tmp_path: Path) -> None:
    first_questions(test_data / "squad" / "train-v1.1.part.json", tmp_path / "train.json", 16)
    script = Path(__file__).with_name("onebit_learning_ranks.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, script, tmp_path, str(rank), test_data / "vocab.txt"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(RANKS)
    ]
    said = [rank.communicate()[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0] * RANKS, said
    adam, own = json.loads((tmp_path / "learned.json").read_text()).values()
    print(f"final loss {adam['loss']:.3f} by Adam, {own['loss']:.3f} by 1-bit Adam, from {own['first']:.1f}")
    print(f"F1 {adam['f1']:.1f} and {own['f1']:.1f}")
    assert own["first"] == pytest.approx(adam["first"], rel=1e-5)
    assert own["loss"] < adam["loss"] + 0.1 * own["first"]
    assert own["loss"] < own["first"] / 4
    assert own["f1"] > 0.8 * adam["f1"] > 40
