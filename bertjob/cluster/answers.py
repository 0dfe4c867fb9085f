"""Answers of a trained model: asked of the training's own interpreter, because this side has no torch."""

import subprocess
import sys
from collections.abc import Sequence

import msgspec

from bertjob.errors import DataError
from bertjob.spec.layout import RunDir


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


def answers(run_dir: RunDir, arguments: Sequence[str]) -> list[Answer]:
    """Let the run's newest model answer.

    Args:
        run_dir: a run with a model or a complete checkpoint.
        arguments: those of bertjob.train.squad.ask: ``--start N --count N``, or ``--question Q --context-file F``.

    Raises:
        DataError: torch is not installed here, or there is no model, or the questions cannot be read; in one line.
    """
    command = [sys.executable, "-m", "bertjob.train.squad.ask", str(run_dir.path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if "No module named" in lines[-1]:
            raise DataError(f"{lines[-1].split(': ')[-1]} here: pip install 'bertjob[train]'")
        raise DataError(lines[-1])
    decoder = msgspec.json.Decoder(Answer)
    return [decoder.decode(line) for line in done.stdout.splitlines() if line.startswith("{")]
