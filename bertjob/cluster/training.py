"""Modules of the training, run by this Python in a process of its own: the login side has no torch and no numpy."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from bertjob.config.home import give_home
from bertjob.errors import DataError
from bertjob.rundir import messages
from bertjob.rundir.directory import RunDir
from bertjob.rundir.messages import Answer, AnsweringProgress, Preparation, PreparationProgress, Prepared, received


def lines(module: str, *arguments: str) -> Iterator[str]:
    """The lines that ``python -m MODULE ARGUMENTS`` prints, as they come; it has our standard input.

    Raises:
        DataError: it failed, in its own last line; or the training's packages are not installed here.
    """
    command, environment = [sys.executable, "-m", module, *arguments], dict(os.environ)
    give_home(environment)
    with tempfile.TemporaryFile() as complaint:  # a pipe that nobody reads meanwhile might fill up
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaint, text=True, env=environment) as process:
            assert process.stdout is not None
            try:
                yield from process.stdout
            except BaseException:  # nobody waits for the rest; what is prepared so far stays
                process.terminate()
                raise
        if process.returncode:
            complaint.seek(0)
            raise _error(complaint.read().decode(errors="replace"), process.returncode)


def _error(complaint: str, code: int) -> DataError:
    last = (complaint.strip().splitlines() or [f"it ended with exit code {code}"])[-1]
    if "No module named" in last:
        return DataError(f"{last.split(': ')[-1]} here: pip install 'bertjob[train]'")
    return DataError(last)


def prepare(request: Preparation, show: Callable[[PreparationProgress], None]) -> Prepared:
    """Prepare a corpus.

    Args:
        request: what.
        show: is called with each step forward.

    Raises:
        DataError: the training's packages are not installed here, or the corpus, the vocabulary or the folder is no
            good; in one line.
    """
    made = None
    for said in received(lines("bertjob.train.corpus", messages.line(request)), PreparationProgress, Prepared):
        if isinstance(said, Prepared):
            made = said
        else:
            show(said)
    assert made is not None, "a preparation that ends well says what it made"
    return made


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
    printed = lines("bertjob.train.tasks.squad.ask", str(run_dir.path), *arguments)
    for said in received(printed, AnsweringProgress, Answer):
        if isinstance(said, Answer):
            found.append(said)
        else:
            show(said)
    return found
