"""Processes that make shards. Each holds one piece at a time and ends when this process does, however that ends."""

import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from bertjob.errors import DataError
from bertjob.train.corpus.pieces import Piece
from bertjob.train.corpus.shard_making import Making, make_shard
from bertjob.train.corpus.shards import ShardRecord

Made = tuple[Piece, ShardRecord]


def make_shards(pieces: Iterable[Piece], workers: int, making: Making, vocabulary: Path) -> Iterator[Made]:
    """Make the shards of `pieces` in `workers` processes; each is yielded, without its text, when it is written.

    A piece is taken from `pieces` when a process has none, so that besides theirs only one is in memory.

    Args:
        pieces: in any number.
        workers: processes at most; the first ones start with the first pieces.
        making: how.
        vocabulary: the tokenizer's file.

    Raises:
        DataError: a text is not what it should be, a shard cannot be written, or a process was killed.
    """
    crew: dict[Connection, BaseProcess] = {}
    at_work: dict[Connection, Piece] = {}
    try:
        for piece in pieces:
            if len(at_work) == workers:
                yield from _answers(crew, at_work)
            idle = next((way for way in crew if way not in at_work), None) or _hire(crew, making, vocabulary)
            at_work[idle] = piece._replace(spans=())
            _send(crew[idle], idle, piece)
            del piece  # its text is another process' now
        while at_work:
            yield from _answers(crew, at_work)
    finally:
        for way, process in crew.items():
            way.close()
            if at_work:  # something is wrong, or nobody waits for the rest
                process.terminate()
        for process in crew.values():
            process.join()


def _answers(crew: dict[Connection, BaseProcess], at_work: dict[Connection, Piece]) -> Iterator[Made]:
    """What is done by now, at least one."""
    for way in wait(list(at_work)):
        assert isinstance(way, Connection)
        try:
            answer = way.recv()
        except (EOFError, OSError):
            raise _killed(crew[way]) from None
        if not isinstance(answer, ShardRecord):
            raise DataError(answer)
        yield at_work.pop(way), answer


def _send(process: BaseProcess, way: Connection, piece: Piece) -> None:
    try:
        way.send(piece)
    except OSError:
        raise _killed(process) from None


def _killed(process: BaseProcess) -> DataError:
    process.join(5)
    code = process.exitcode or 0
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return DataError(f"a process that makes shards has died ({how}): out of memory? --workers N takes fewer of them")


def _hire(crew: dict[Connection, BaseProcess], making: Making, vocabulary: Path) -> Connection:
    context = get_context("spawn")  # a fork would copy the library's threads half
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, making, vocabulary), daemon=True)
    process.start()
    there.close()  # else no end of this process would be seen there
    crew[here] = process
    return here


def _work(way: Connection, making: Making, vocabulary: Path) -> None:
    """The life of a process: a piece in, a record or what is wrong out, until nobody is at the other end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other end gets it too, and closes
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # there is a process a core already
    from bertjob.train.corpus.encode import Encoder
    from bertjob.train.data.tokenizer import load_tokenizer

    encoder = Encoder(load_tokenizer(vocabulary))
    while True:
        try:
            piece = way.recv()
        except EOFError:
            return
        answer: ShardRecord | str
        try:
            answer = make_shard(piece, making, encoder)
        except DataError as error:
            answer = str(error)
        except OSError as error:
            answer = f"{making.folder}: {error.strerror or error}"
        del piece
        try:
            way.send(answer)
        except OSError:
            return
