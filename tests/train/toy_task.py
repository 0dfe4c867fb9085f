"""A task of its own, as somebody would add one: to tell lines of red things from others.

`register` makes it a row of the table and a name that jobs may say; nothing else of bertjob knows of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click

from bertjob.config.job import Job, Task
from bertjob.config.registry.tasks import TASKS, TORCH, Input, Metric, TaskRow
from bertjob.errors import DataError
from bertjob.estimate.sample_counts import Samples
from bertjob.rundir.directory import RunDir


def lines(path: str) -> list[tuple[int, list[str]]]:
    """Each line of a file: its label and its words."""
    split = (line.split() for line in Path(path).read_text().splitlines())
    return [(int(words[0]), words[1:]) for words in split]


def count(job: Job) -> tuple[Samples, str]:
    lengths = [len(words) for _, words in lines(job.data.train)]
    mean = sum(lengths) / len(lengths)
    return Samples(len(lengths), mean, sum(length**2 for length in lengths) / len(lengths)), f"{len(lengths)} lines"


def summary(job: Job, accumulation: int, world_size: int) -> str:
    return f"{world_size} ranks look for red things"


def problems(job: Job) -> Iterator[str]:
    if job.data.train is None:
        yield "data.train is required: a file of lines, each with its label"


def print_guess(run_dir: RunDir) -> None:
    click.echo(f"the model in {run_dir.name} has seen red", err=True)


def read_lines(path: Path) -> None:
    try:
        lines(str(path))
    except (ValueError, IndexError):
        raise DataError(f"{path}: each line begins with its label, 0 or 1") from None


LINES = Input("write one", "toy_task:read_lines")
ROW = TaskRow(
    code="toy_training:RedThings",
    section=None,
    fine_tunes=True,
    data={"train": LINES, "dev": LINES},
    evaluated_on="dev",
    metrics=(Metric("accuracy", "acc", "accuracy", 1), Metric("entropy", "H", "cross-entropy", 2)),
    examples="toy_task:print_guess",
    summary=summary,
    samples="toy_task:count",
    packages=TORCH,
    problems=problems,
)


def register() -> None:
    """Add the row, and the name to those that a job may say."""
    TASKS["red"] = ROW
    Job.__annotations__["task"] = Literal[Task, "red"]
