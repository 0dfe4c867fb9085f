"""state.json: what is written is what is read, and files of older versions are read as well."""

import json
from pathlib import Path

import pytest

from bertjob.rundir.state import RunState, read_state, write_state

OLD = {"phase": "done", "time": 1.5, "job_id": "17", "step": 12, "total_steps": 12, "exit_code": 0}


def read(path: Path, **said: object) -> RunState | None:
    path.write_text(json.dumps(OLD | said))
    return read_state(path)


def test_metrics_come_back_in_their_order(tmp_path: Path) -> None:
    state = RunState(phase="done", time=1.5, metrics={"nsp_accuracy": 97.0, "f1": 3.0, "accuracy": 50.0})
    write_state(tmp_path / "state.json", state)
    found = read_state(tmp_path / "state.json")
    assert found == state
    assert list(found.metrics) == ["nsp_accuracy", "f1", "accuracy"]


def test_a_state_without_metrics_does_not_mention_them(tmp_path: Path) -> None:
    write_state(tmp_path / "state.json", RunState(phase="training", time=1.5))
    assert json.loads((tmp_path / "state.json").read_text()) == {"phase": "training", "time": 1.5}


@pytest.mark.parametrize("scores", [{"exact_match": 80.5, "f1": 88.25}, {"f1": 88.25}])
def test_the_scores_of_an_old_state_are_its_metrics(tmp_path: Path, scores: dict[str, float]) -> None:
    found = read(tmp_path / "state.json", **scores)
    assert (found.metrics, found.phase, found.step) == (scores, "done", 12)


@pytest.mark.parametrize("said", [{}, {"error": 'a line with "f1" in it'}, {"exact_match": None, "f1": None}])
def test_an_old_state_without_scores_has_no_metrics(tmp_path: Path, said: dict[str, object]) -> None:
    assert read(tmp_path / "state.json", **said).metrics == {}


def test_a_state_that_is_no_state_is_none(tmp_path: Path) -> None:
    assert read(tmp_path / "state.json", f1="high") is None
    assert read_state(tmp_path / "missing.json") is None
