"""Properties of the questions that come with bertjob."""

import calendar
import hashlib
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bertjob.formats import squad
from bertjob.formats.squad import Part, Question, demo_set, load

TRAIN = load("demo", "train")
DEV = load("demo", "dev")
PARAGRAPHS = (*TRAIN.paragraphs, *DEV.paragraphs)
CALENDAR = {*calendar.month_name, *calendar.day_name}
ORDINARY = {word for paragraph in PARAGRAPHS for word in re.findall(r"\b[a-z]\w+", paragraph.context)}
SEVERAL_WORDS = re.compile(r"[A-Z]\w+(?: (?:& |and )?[A-Z]\w+)+")
"""A name such as `Agnes Farrow`, `Corvin & Sons` or `Gull and Lantern`."""


def asked() -> Iterator[tuple[str, Question]]:
    """Each question after its context."""
    for part in (TRAIN, DEV):
        for question in part.questions:
            yield part.paragraphs[question.paragraph].context, question


def candidates(answer: str, context: str) -> set[str] | None:
    """What the context offers of the answer's kind: names, years, numbers of a unit; None for common words."""
    if re.fullmatch(r"\d{4}", answer):
        return set(re.findall(r"\b\d{4}\b", context))
    if answer[0].isdigit():
        unit = answer.split(" ", 1)[1]
        return set(re.findall(rf"[\d,]+ {unit}\b", context))
    if answer in CALENDAR:
        return CALENDAR & set(re.findall(r"\w+", context))
    if answer[0].isupper():
        names = {word for word in re.findall(r"[A-Z]\w+", context) if word.lower() not in ORDINARY}
        return {answer, *(names - set(answer.split()))}
    return None


@pytest.mark.parametrize(
    ("part", "sha256"),
    [
        ("train", "5345d8a1613a0d4278943674b3a6db31a190908a3b073a4b942152ae3b40e5bf"),
        ("dev", "3d614ff32e041eb25e7b4e1a7c2ca5ae166a09e895e6eaa914b679f3d58980a8"),
    ],
)
def test_the_set_is_always_the_same(part: Part, sha256: str) -> None:
    """Scores that were measured are those of these bytes: whoever changes them trains again first."""
    assert hashlib.sha256(demo_set(part)).hexdigest() == sha256


def test_the_files_hold_no_time_of_their_making() -> None:
    for file in Path(squad.__file__).parent.glob("demo-*.json.gz"):
        assert file.read_bytes()[4:8] == bytes(4), file


def test_there_are_300_paragraphs_and_1797_questions_to_train_on() -> None:
    """The numbers that jobs/squad-demo.yaml names."""
    assert (len(TRAIN.paragraphs), len(TRAIN.questions)) == (300, 1797)
    assert (len(DEV.paragraphs), len(DEV.questions)) == (60, 359)


def test_nothing_is_there_twice() -> None:
    assert len({paragraph.context for paragraph in PARAGRAPHS}) == len(PARAGRAPHS)
    assert len({question.id for _, question in asked()}) == len(list(asked()))
    assert len({(context, question.text) for context, question in asked()}) == len(list(asked()))


def test_answers_are_at_their_offsets() -> None:
    for context, question in asked():
        (answer,) = question.answers
        assert context[answer.start : answer.start + len(answer.text)] == answer.text


def test_the_names_of_the_dev_part_are_not_in_the_training_part() -> None:
    training = "\n".join(paragraph.context for paragraph in TRAIN.paragraphs)
    answers = {answer.text for question in DEV.questions for answer in question.answers}
    names = {answer for answer in answers if answer[0].isupper()} - CALENDAR
    names.update(*(SEVERAL_WORDS.findall(paragraph.context) for paragraph in DEV.paragraphs))
    assert len(names) > 300
    assert not [name for name in names if name in training]


def test_the_paragraph_has_several_candidates_for_an_answer() -> None:
    several = [candidates(question.answers[0].text, context) for context, question in asked()]
    counted = [len(found) for found in several if found is not None]
    assert min(counted) >= 2
    assert len(counted) > 0.85 * len(several)


def test_paragraphs_are_short_and_long() -> None:
    lengths = [len(paragraph.context.split()) for paragraph in PARAGRAPHS]
    assert 35 <= min(lengths) < 45
    assert 200 < max(lengths) < 270


def test_questions_are_put_in_many_ways() -> None:
    texts = [question.text for question in TRAIN.questions]
    assert len({" ".join(text.split()[:3]) for text in texts}) > 150
    assert len(set(texts)) > 0.95 * len(texts)


def test_the_text_is_clean_english() -> None:
    for paragraph in PARAGRAPHS:
        assert not re.search(r"[{}<>|]|  | [.,;]|\.\.|,,", paragraph.context)
        sentences = re.split(r"(?<=\.) ", paragraph.context)
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
        assert not [pair for pair in pairwise(paragraph.context.lower().split()) if pair[0] == pair[1]]
    for _, question in asked():
        assert re.fullmatch(r"[A-Z][^{}<>|]*\?", question.text)
        assert "  " not in question.text
