"""Modules of the training, run by this Python in a process of its own: the login side has no torch and no numpy."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from bertjob.errors import DataError
from bertjob.rundir.directory import RunDir


def lines(module: str, *arguments: str) -> Iterator[str]:
    """The lines that ``python -m MODULE ARGUMENTS`` prints, as they come; it has our standard input.

    Raises:
        DataError: it failed, in its own last line; or the training's packages are not installed here.
    """
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryFile() as complaint:  # a pipe that nobody reads meanwhile might fill up
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaint, text=True) as process:
            assert process.stdout is not None
            yield from process.stdout
        if process.returncode:
            complaint.seek(0)
            raise _error(complaint.read().decode(errors="replace"), process.returncode)


def _error(complaint: str, code: int) -> DataError:
    last = (complaint.strip().splitlines() or [f"it ended with exit code {code}"])[-1]
    if "No module named" in last:
        return DataError(f"{last.split(': ')[-1]} here: pip install 'bertjob[train]'")
    return DataError(last)


class Request(msgspec.Struct, frozen=True):
    """What is to be prepared; see bertjob.train.corpus.prepare.Preparation."""

    corpora: tuple[str, ...]
    out: str
    vocab: str | None
    train_vocab: int | None
    split_sentences: bool
    validation: float
    workers: int


class PreparationProgress(msgspec.Struct, frozen=True):
    """How far it is: bytes of files that are done, of all; shards so far, and how many of them were there before."""

    phase: str
    done: int
    total: int
    shards: int
    kept: int


def prepare(request: Request, show: Callable[[PreparationProgress], None]) -> dict[str, Any]:
    """Prepare a corpus; what was made, in numbers.

    Args:
        request: what.
        show: is called with each step forward.

    Raises:
        DataError: the training's packages are not installed here, or the corpus, the vocabulary or the folder is no
            good; in one line.
    """
    summary: dict[str, Any] = {}
    for line in lines("bertjob.train.corpus", msgspec.json.encode(request).decode()):
        said = msgspec.json.decode(line)
        if "phase" in said:
            show(msgspec.convert(said, PreparationProgress))
        else:
            summary = said
    return summary


def describe(folder: str, *, check: bool = False) -> dict[str, Any]:
    """What a prepared corpus holds; see bertjob.train.corpus.statistics.

    Args:
        folder: where it is.
        check: compare its shards with their checksums before.

    Raises:
        DataError: the training's packages are not installed here, or there is no complete preparation, or a shard is
            damaged; in one line.
    """
    (facts,) = lines("bertjob.train.corpus.statistics", folder, *(("--check",) if check else ()))
    return dict(msgspec.json.decode(facts))


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


class AnsweringProgress(msgspec.Struct, frozen=True):
    """How many pieces of the contexts have been read, of all: a long context is many."""

    read: int
    pieces: int


def answers(
    run_dir: RunDir, arguments: Sequence[str], show: Callable[[AnsweringProgress], object] = lambda progress: None
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
            show(msgspec.json.decode(line, type=AnsweringProgress))
        elif line.startswith("{"):
            found.append(msgspec.json.decode(line, type=Answer))
    return found
