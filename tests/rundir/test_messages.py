import json

import msgspec
import pytest

from bertjob.rundir.messages import (
    Answer,
    AnsweringProgress,
    Preparation,
    PreparationProgress,
    Prepared,
    line,
    received,
)

ANSWER = Answer("Where?", "Ada lived in London\nand Paris.", "London", 13, 19, 0.5, "q1", ("London",))
PREPARED = Prepared(2, 1000, 30522, "ab" * 32, {"documents": 9}, {"documents": 1})


@pytest.mark.parametrize(
    ("step", "result"), [(AnsweringProgress(1, 5), ANSWER), (PreparationProgress("shards", 1, 9, 2, 1), PREPARED)]
)
def test_what_is_sent_is_received_whatever_libraries_print_beside_it(
    step: msgspec.Struct, result: msgspec.Struct
) -> None:
    printed = ["Loading weights: 100%\n", f"{line(step)}\n", "\n", f"{line(result)}\n", "[warning] slow\n"]
    assert list(received(printed, type(step), type(result))) == [step, result]


def test_a_message_is_one_line() -> None:
    assert "\n" not in line(ANSWER)


def test_a_message_that_is_neither_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field"):
        list(received(['{"read": 1}'], AnsweringProgress, Answer))


def test_the_names_of_the_keys_are_those_that_scripts_rely_on() -> None:
    """`python -m bertjob.train.corpus` and `-m bertjob.train.tasks.squad.ask` are called by other programs, too."""
    named = {kind: list(kind.__struct_fields__) for kind in (Preparation, PreparationProgress, AnsweringProgress)}
    assert named == {
        Preparation: [
            *("corpora", "out", "vocab", "train_vocab", "split_sentences", "validation", "workers", "shard_bytes")
        ],
        PreparationProgress: ["phase", "done", "total", "shards", "kept"],
        AnsweringProgress: ["read", "pieces"],
    }
    assert set(json.loads(line(ANSWER))) == {
        *("id", "question", "context", "answer", "start", "end", "probability", "gold")
    }
    assert set(json.loads(line(PREPARED))) == {
        *("shards", "text_bytes", "vocabulary_size", "vocabulary_sha256", "train", "validation")
    }


def test_a_request_may_leave_out_all_but_the_corpus_and_the_folder() -> None:
    request = msgspec.json.decode('{"corpora": ["a.txt"], "out": "b"}', type=Preparation)
    assert (request.corpora, request.workers, request.shard_bytes) == (("a.txt",), 1, None)
