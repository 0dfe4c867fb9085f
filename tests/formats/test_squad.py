import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.errors import DataError
from bertjob.formats.squad import Answer, describe, load, parse, read_squad

CONTEXT = "Ada Lovelace was born in London in 1815."


def small() -> dict[str, Any]:
    def question(id: str, text: str, answer: str) -> dict[str, Any]:
        return {
            "id": id,
            "question": text,
            "answers": [{"text": answer, "answer_start": CONTEXT.index(answer)}],
        }

    qas = [question("q1", "Where?", "London"), question("q2", "When?", "1815")]
    other = {"context": "It rained.", "qas": []}
    return {"version": "1.1", "data": [{"title": "Ada", "paragraphs": [other, {"context": CONTEXT, "qas": qas}]}]}


def fault(value: object) -> str:
    with pytest.raises(DataError) as caught:
        parse(json.dumps(value).encode(), "f.json")
    message = str(caught.value)
    assert message.startswith("f.json")
    assert "\n" not in message
    return message


def question_of(value: dict[str, Any]) -> dict[str, Any]:
    return value["data"][0]["paragraphs"][1]["qas"][1]  # type: ignore[no-any-return]


def test_a_file_becomes_values() -> None:
    squad = parse(json.dumps(small()).encode(), "f.json")
    assert [paragraph.context for paragraph in squad.paragraphs] == ["It rained.", CONTEXT]
    assert [(q.id, q.text, q.paragraph) for q in squad.questions] == [("q1", "Where?", 1), ("q2", "When?", 1)]
    assert squad.questions[0].answers == (Answer("London", 25),)
    assert squad.paragraphs[0].title == "Ada"
    assert squad.duplicated_ids == ()


def test_the_same_id_twice_is_kept_and_named() -> None:
    value = small()
    question_of(value)["id"] = "q1"
    squad = parse(json.dumps(value).encode(), "f.json")
    assert len(squad.questions) == 2
    assert squad.duplicated_ids == ("q1",)


def test_a_byte_order_mark_is_no_fault() -> None:
    assert len(parse(b"\xef\xbb\xbf" + json.dumps(small()).encode(), "f.json").questions) == 2


def test_describe_counts() -> None:
    facts = describe(parse(json.dumps(small()).encode(), "f.json"))
    assert facts["paragraphs"] == 2
    assert facts["questions"] == facts["answers"] == 2
    assert facts["longest_context"] == len(CONTEXT)
    assert facts["longest_answer"] == len("London")


@pytest.mark.parametrize(
    ("place", "key", "value", "says"),
    [
        ("question", "answers", [], "data[0].paragraphs[1].qas[1].answers: is empty"),
        ("question", "answers", None, "data[0].paragraphs[1].qas[1].answers: must be a list, is null"),
        ("question", "id", 7, "data[0].paragraphs[1].qas[1].id: must be text, is 7"),
        ("question", "question", ["When?"], 'qas[1].question: must be text, is ["When?"]'),
        ("question", "is_impossible", True, "this is SQuAD v2; SQuAD v1.1 is needed"),
        (
            "answer",
            "answer_start",
            36,
            'answers[0].answer_start: 36 points at "815.", the text is "1815"; the text is at 35',
        ),
        ("answer", "answer_start", -5, "-5 points at"),
        ("answer", "answer_start", "35", 'answer_start: must be a whole number, is "35"'),
        ("answer", "answer_start", True, "answer_start: must be a whole number, is true"),
        ("answer", "text", "1816", "the context does not hold the text"),
        ("answer", "text", "", "text: is empty"),
        ("answer", "text", "\ud800", "half of a surrogate pair"),
        ("paragraph", "context", 3.5, "data[0].paragraphs[1].context: must be text, is 3.5"),
        ("paragraph", "qas", {}, "data[0].paragraphs[1].qas: must be a list, is {}"),
        ("article", "paragraphs", "x", 'data[0].paragraphs: must be a list, is "x"'),
        ("root", "data", {}, "data: must be a list, is {}"),
        ("root", "data", [], "holds no questions"),
        ("root", "data", [3], 'data[0]: must be an object with "paragraphs"'),
    ],
)
def test_a_fault_is_named_with_its_place(place: str, key: str, value: object, says: str) -> None:
    root = small()
    article = root["data"][0]
    question = question_of(root)
    nodes = {
        "root": root,
        "article": article,
        "paragraph": article["paragraphs"][1],
        "question": question,
        "answer": question["answers"][0],
    }
    nodes[place][key] = value
    assert says in fault(root)


@pytest.mark.parametrize("key", ["context", "qas", "id", "question", "answers", "text", "answer_start", "data"])
def test_a_missing_key_is_named(key: str) -> None:
    root = small()
    question = question_of(root)
    for node in (root, root["data"][0]["paragraphs"][1], question, question["answers"][0]):
        node.pop(key, None)
    assert f'has no "{key}"' in fault(root)


def test_a_file_without_titles_is_read() -> None:
    value = small()
    del value["data"][0]["title"]
    assert parse(json.dumps(value).encode(), "f.json").paragraphs[0].title == ""


def test_questions_of_squad_2_that_have_answers_are_read() -> None:
    value = small()
    question_of(value)["is_impossible"] = False
    assert len(parse(json.dumps(value).encode(), "f.json").questions) == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "f.json: not JSON: Expecting value at line 1 column 1"),
        (b'{"data": [\n  {"title": }\n]}', "f.json: not JSON: Expecting value at line 2 column 13"),
        (b'{"data": [1, 2', "line 1"),
        (b'{\n"data": "\xff"}', "f.json: line 2 is not UTF-8 text"),
        (b"[" * 200_000, "f.json: not JSON that can be read"),
        (b'{"data": ' + b"9" * 5000 + b"}", "f.json: not JSON that can be read"),
        (b"[]", 'f.json: must be an object with "data"'),
        (b"null", 'f.json: must be an object with "data"'),
    ],
)
def test_what_is_no_json_object_is_said(content: bytes, says: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(content, "f.json")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_squad(tmp_path / "none.json")
    with pytest.raises(DataError, match="Is a directory"):
        load(str(tmp_path), "dev")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "paragraphs", "x"]), inner),
    max_leaves=8,
)


@given(st.data())
def test_whatever_is_changed_in_a_file_is_a_data_error_or_a_file(data: st.DataObject) -> None:
    root: Any = copy.deepcopy(small())
    node: Any = root
    for _ in range(data.draw(st.integers(1, 8))):
        keys: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and data.draw(st.booleans()):
            node = node[key]
            continue
        if isinstance(node, dict) and data.draw(st.booleans()):
            del node[key]
        else:
            node[key] = data.draw(json_values)
        break
    with suppress(DataError):
        parse(json.dumps(root).encode(), "f.json")


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:data0 \n\\u', max_size=60).map(str.encode))
def test_whatever_bytes_come_are_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError):
        parse(content, "f.json")


@given(st.integers(0, len(json.dumps(small())) - 2))
def test_a_file_cut_anywhere_is_a_data_error(length: int) -> None:
    with pytest.raises(DataError):
        parse(json.dumps(small()).encode()[:length], "f.json")
