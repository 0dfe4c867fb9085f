"""SQuAD v1.1 files as frozen values, with every fault named by file and place. Needs no torch and no numpy.

The form: ``{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text",
"answer_start"}]}]}]}]}``.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from bertjob.config import bounded
from bertjob.errors import DataError
from bertjob.text import reason

DEMO: Final = "demo"
"""Names, in place of a file, the questions that come with bertjob."""

Part = Literal["train", "dev"]


class Answer(NamedTuple):
    """A right answer: the words, and the index of their first character in the context."""

    text: str
    start: int


class Question(msgspec.Struct, frozen=True):
    """A question, its right answers, and the index of the paragraph that it is about."""

    id: str
    text: str
    answers: tuple[Answer, ...]
    paragraph: int


class Paragraph(msgspec.Struct, frozen=True):
    """A context and the title of the article that it stands in."""

    context: str
    title: str


class SquadSet(msgspec.Struct, frozen=True):
    """All of one file, in its order.

    Attributes:
        name: the file's name, for messages.
        sha256: of the file's bytes, in hex.
        paragraphs: the contexts.
        questions: at least one; ids may occur more than once.
    """

    name: str
    sha256: str
    paragraphs: tuple[Paragraph, ...]
    questions: tuple[Question, ...]

    @property
    def duplicated_ids(self) -> tuple[str, ...]:
        """Ids that more than one question has."""
        return tuple(id for id, times in Counter(question.id for question in self.questions).items() if times > 1)


def load(source: str, part: Part) -> SquadSet:
    """Read the file `source`, or the demo set's `part` where source is `demo`.

    Raises:
        DataError: the file cannot be read, or is not SQuAD v1.1.
    """
    if source == DEMO:
        return parse(demo_set(part), f"demo ({part})")
    return read_squad(Path(source))


def demo_set(part: Part) -> bytes:
    """The demo set's `part` as the bytes of a SQuAD v1.1 file.

    The questions were generated from word lists for this project, so the tool can be tried without a download. Each
    paragraph states the same facts of several ships, towns, people …: more than one candidate has the kind that a
    question asks for, and only reading decides. No name of the dev part occurs in the training part.
    """
    return gzip.decompress(Path(__file__).with_name(f"demo-{part}.json.gz").read_bytes())


def read_squad(path: Path) -> SquadSet:
    """Read a SQuAD v1.1 file.

    Raises:
        DataError: the file cannot be read, or is no SQuAD v1.1; says where and what would be right.
    """
    return parse(read_bytes(path), str(path))


def describe(data: SquadSet) -> dict[str, int]:
    """What a set holds, in numbers; lengths are in characters."""
    contexts = [len(paragraph.context) for paragraph in data.paragraphs]
    answers = [len(answer.text) for question in data.questions for answer in question.answers]
    return {
        "titles": len({paragraph.title for paragraph in data.paragraphs}),
        "paragraphs": len(data.paragraphs),
        "questions": len(data.questions),
        "answers": len(answers),
        "duplicated_ids": len(data.duplicated_ids),
        "mean_context": round(sum(contexts) / len(contexts)),
        "longest_context": max(contexts),
        "longest_question": max(len(question.text) for question in data.questions),
        "longest_answer": max(answers),
    }


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return bounded.read_bytes(path, bounded.DATA)
    except OSError as error:
        raise DataError(f"{path}: {reason(error)}") from None


def parse_json(content: bytes, name: str, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; `name` is for messages, `pairs_hook` makes the objects from their pairs.

    Raises:
        DataError: it is not JSON; says the line.
    """
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=pairs_hook)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}: line {line} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{name}: not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not JSON that can be read: {error}") from None


def parse(content: bytes, name: str) -> SquadSet:
    """Read the bytes of a SQuAD v1.1 file; `name` is for messages.

    Raises:
        DataError: it is no SQuAD v1.1; says where and what would be right.
    """
    try:
        root = _Node(name, "", parse_json(content, name))
    except DataError as error:
        raise DataError(f"{error}; SQuAD v1.1 is one JSON object") from None
    paragraphs: list[Paragraph] = []
    questions: list[Question] = []
    for article in root.items("data"):
        title = article.text("title") if article.has("title") else ""
        for paragraph in article.items("paragraphs"):
            context = paragraph.text("context")
            questions += (_question(node, context, len(paragraphs)) for node in paragraph.items("qas"))
            paragraphs.append(Paragraph(context, title))
    if not questions:
        raise DataError(f"{name}: holds no questions")
    return SquadSet(name, hashlib.sha256(content).hexdigest(), tuple(paragraphs), tuple(questions))


class _Node(msgspec.Struct, frozen=True):
    """A JSON value that knows its file and its place in it."""

    file: str
    place: str
    value: Any

    def fault(self, key: str, what: str) -> DataError:
        place = ".".join(part for part in (self.place, key) if part)
        return DataError(": ".join(part for part in (self.file, place, what) if part))

    def has(self, key: str) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def get(self, key: str, kind: type, called: str) -> Any:
        if not isinstance(self.value, dict):
            raise self.fault("", f'must be an object with "{key}"')
        if key not in self.value:
            raise self.fault("", f'has no "{key}"')
        value = self.value[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.fault(key, f"must be {called}, is {_excerpt(value)}")
        return value

    def items(self, key: str) -> "Iterator[_Node]":
        place = f"{self.place}.{key}" if self.place else key
        for index, value in enumerate(self.get(key, list, "a list")):
            yield _Node(self.file, f"{place}[{index}]", value)

    def text(self, key: str) -> str:
        text: str = self.get(key, str, "text")
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise self.fault(key, "holds half of a surrogate pair, which is no character") from None
        return text

    def number(self, key: str) -> int:
        number: int = self.get(key, int, "a whole number")
        return number


def _question(node: _Node, context: str, paragraph: int) -> Question:
    if node.has("is_impossible") and node.value["is_impossible"]:
        raise node.fault(
            "is_impossible",
            "a question without an answer, so this is SQuAD v2; SQuAD v1.1 is needed, where all have one",
        )
    answers = tuple(_answer(answer, context) for answer in node.items("answers"))
    if not answers:
        raise node.fault("answers", "is empty; in SQuAD v1.1 every question has an answer")
    return Question(node.text("id"), node.text("question"), answers, paragraph)


def _answer(node: _Node, context: str) -> Answer:
    text, start = node.text("text"), node.number("answer_start")
    if not text:
        raise node.fault("text", "is empty")
    if start < 0 or not context.startswith(text, start):
        there = context[start : start + len(text)] if start >= 0 else ""
        found = context.find(text)
        right = f"the text is at {found}" if found >= 0 else "the context does not hold the text"
        raise node.fault("answer_start", f"{start} points at {_excerpt(there)}, the text is {_excerpt(text)}; {right}")
    return Answer(text, start)


def _excerpt(value: Any) -> str:
    """At most 40 characters of a value, on one line."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."
