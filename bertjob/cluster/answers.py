"""Answers of a trained model: asked of the training's own interpreter, because this side has no torch."""

from collections.abc import Callable, Sequence

import msgspec

from bertjob.cluster.training_side import lines
from bertjob.rundir.directory import RunDir

_PROGRESS = '{"read"'


class Answer(msgspec.Struct, frozen=True):
    """One answered question; `start` and `end` are characters of the context."""

    question: str
    context: str
    answer: str
    start: int
    end: int
    probability: float
    id: str = ""
    gold: tuple[str, ...] = ()
    """The answers that the data set gives; empty for a question of one's own."""


class Progress(msgspec.Struct, frozen=True):
    """How many pieces of the contexts have been read, of all: a long context is many."""

    read: int
    pieces: int


def answers(
    run_dir: RunDir, arguments: Sequence[str], show: Callable[[Progress], object] = lambda progress: None
) -> list[Answer]:
    """Let the run's newest model answer.

    Args:
        run_dir: a run with a model or a complete checkpoint.
        arguments: those of bertjob.train.tasks.squad.ask: ``--start N --count N``, or
            ``--question Q --context-file F``.
        show: is called with each step forward.

    Raises:
        DataError: torch is not installed here, or there is no model, or the questions cannot be read; in one line.
    """
    found = []
    for line in lines("bertjob.train.tasks.squad.ask", str(run_dir.path), *arguments):
        if line.startswith(_PROGRESS):
            show(msgspec.json.decode(line, type=Progress))
        elif line.startswith("{"):
            found.append(msgspec.json.decode(line, type=Answer))
    return found
