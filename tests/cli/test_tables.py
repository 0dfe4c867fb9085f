"""Tables for people: nothing that belongs together is broken where the terminal is narrow."""

import io

import pytest
from rich.console import Console

from bertjob.cli.tables import origins_table

LONG = "/scratch/project_465000123/experiments/squad/large/mine.yaml:14"
ROWS = [
    ("evaluation.max_answer_length", 30, "jobs/squad.yaml:27"),
    ("deepspeed", {"zero_optimization": {"stage": 1}, "aio": {"thread_count": 4}}, "mine.yaml:3"),
    ("description", "BERT-large, SQuAD v1.1, batch 24, 2 epochs, and words without end", "jobs/squad.yaml:6"),
]


def printed(rows: list, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(origins_table(rows, width))
    return text.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_keys_and_origins_stay_whole_and_values_fold(width):
    text = printed(ROWS, width)
    for key, _, origin in ROWS:
        assert any(line.startswith(f"{key} ") and line.rstrip().endswith(f" {origin}") for line in text.splitlines())
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "without end" in " ".join(text.split()) or width == 60
    assert "…" not in text


def test_a_path_that_is_too_long_loses_its_folders_and_not_its_line():
    rows = [*ROWS, ("seed", 7, LONG)]
    assert LONG in printed(rows, 200)
    assert LONG not in printed(rows, 80)
    assert " mine.yaml:14" in printed(rows, 80)
