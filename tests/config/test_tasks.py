"""The table of tasks: one row each, and nobody else knows their names."""

import ast
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from bertjob.config.job import Data, Job, Task
from bertjob.config.load import dump, load_job
from bertjob.config.registry.tasks import TASKS, evaluates
from bertjob.config.search import names

SOURCES = Path(__file__).resolve().parents[2] / "bertjob"
KNOW_TASKS = ("config/registry/tasks.py", "config/job.py", "train/tasks/")
"""The table, the Literal that a test below compares with it, and the tasks' own code."""
OTHER_THINGS = {
    ("cli/options.py", "smoke"): "the shipped job that doctor examines where no job is named",
    ("cli/verbs/shell.py", "squad"): "the shipped job whose environment a shell has where no job is named",
    ("cluster/datasets.py", "squad"): "the data set that `bertjob data fetch` brings",
}
"""Other things that have the name of a task, by file."""


def literals() -> set[tuple[str, str]]:
    """Files and the names of tasks that stand in them as a string, outside of what may know them."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        name = path.relative_to(SOURCES).as_posix()
        if not name.startswith(KNOW_TASKS):
            strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
            found |= {(name, string) for string in strings if string in TASKS}
    return found


def test_the_names_in_config_job_are_those_of_the_table() -> None:
    assert get_args(Task) == tuple(TASKS)


def test_only_the_table_and_the_tasks_themselves_know_their_names() -> None:
    assert literals() == OTHER_THINGS.keys()


@pytest.mark.parametrize("task", TASKS)
def test_a_row_is_about_keys_that_there_are(task: Task) -> None:
    row = TASKS[task]
    assert set(row.data) <= set(Data.__struct_fields__)
    assert row.evaluated_on is None or row.evaluated_on in row.data
    assert row.section is None or row.section in {field.type for field in msgspec.structs.fields(Job)}
    assert row.trains or not (row.metrics or row.fine_tunes or row.data)


def test_a_metric_means_the_same_in_all_tasks() -> None:
    listed = {metric for row in TASKS.values() for metric in row.metrics}
    assert len({metric.name for metric in listed}) == len(listed)


@pytest.mark.parametrize("job", names("job"))
def test_a_resolved_job_has_no_sections_that_its_task_does_not_read(job: str) -> None:
    written = msgspec.yaml.decode(dump(load_job(job).value))
    task = load_job(job).value.task
    assert ("pretraining" in written) == (TASKS[task].section is not None)
    assert all((name in written) == TASKS[task].trains for name in ("model", "train", "evaluation", "schedule"))


def test_a_section_that_a_task_does_not_read_and_that_says_something_is_kept() -> None:
    assert "masked: 0.2" in dump(load_job("squad", ["pretraining.masked=0.2"]).value)


def test_a_job_is_evaluated_on_what_its_task_names() -> None:
    assert evaluates(Job(name="j", data=Data(train="t", dev="d")))
    assert not evaluates(Job(name="j", data=Data(train="t")))
    assert evaluates(Job(name="j", task="mlm", data=Data(shards="s")))
    assert not evaluates(Job(name="j", task="smoke"))
