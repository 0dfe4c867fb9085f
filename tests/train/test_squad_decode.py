import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bertjob.formats.squad import Paragraph, Question, SquadSet
from bertjob.train.data.tokenizer import BertTokenizer
from bertjob.train.tasks.squad.decode import Answer, best_answers, window_candidates
from bertjob.train.tasks.squad.features import Features, Settings, make_features

Logits = NDArray[np.float32]


def brute_force(
    features: Features, question: int, context: str, start: Logits, end: Logits, n_best: int, longest: int
) -> list[tuple[str, float]]:
    """Texts and scores of a question's n best answers, by loops over all windows and tokens."""
    found: list[tuple[float, str]] = []
    for sample in np.flatnonzero(features.question == question):
        first_context = int(features.query_length[sample]) + 2
        places = range(first_context, int(features.lengths[sample]) - 1)
        at = int(features.offsets[sample])
        begins = [place for place in places if features.best_context[at + place]]
        begins = sorted(begins, key=lambda place: -start[sample, place])[:n_best]
        ends = sorted(places, key=lambda place: -end[sample, place])[:n_best]
        pairs = [(b, e) for b in begins for e in ends if b <= e < b + longest]
        if not pairs:
            every = [(b, e) for b in places if features.best_context[at + b] for e in places if b <= e < b + longest]
            pairs = sorted(every, key=lambda pair: -(start[sample, pair[0]] + end[sample, pair[1]]))[:1]
        for b, e in pairs:
            span = features.window[sample] - first_context
            text = context[features.spans[span + b, 0] : features.spans[span + e, 1]]
            found.append((float(start[sample, b]) + float(end[sample, e]), text))
    best: dict[str, float] = {}
    for score, text in sorted(found, key=lambda pair: -pair[0]):
        best.setdefault(text, score)
    return list(best.items())[:n_best]


def decode(
    data: SquadSet, features: Features, start: Logits, end: Logits, n_best: int, longest: int
) -> dict[int, list[Answer]]:
    windows = window_candidates(features, np.arange(len(features)), start, end, n_best, longest)
    answers = {}
    for index, question in enumerate(data.questions):
        own = [windows[sample] for sample in np.flatnonzero(features.question == index)]
        answers[index] = best_answers(own, data.paragraphs[question.paragraph].context, n_best)
    return answers


def random_logits(features: Features, seed: int = 0, width: int | None = None) -> tuple[Logits, Logits]:
    rng = np.random.default_rng(seed)
    shape = (len(features), width or int(features.lengths.max()))
    outside = np.arange(shape[1]) >= features.lengths[:, None]
    start, end = (np.where(outside, -np.inf, rng.normal(0, 3, shape)).astype(np.float32) for _ in range(2))
    return start, end


@pytest.mark.parametrize(("n_best", "longest"), [(20, 30), (5, 3), (1, 30), (1, 1), (60, 60)])
def test_answers_are_those_of_brute_force(
    n_best: int, longest: int, demo_dev: SquadSet, demo_features: Features
) -> None:
    start, end = random_logits(demo_features)
    answers = decode(demo_dev, demo_features, start, end, n_best, longest)
    several_windows = np.flatnonzero(np.bincount(demo_features.question) > 1)[:20]
    for question in [*range(20), *several_windows.tolist()]:
        context = demo_dev.paragraphs[demo_dev.questions[question].paragraph].context
        expected = brute_force(demo_features, question, context, start, end, n_best, longest)
        assert [answer.text for answer in answers[question]] == [text for text, _ in expected]
        scores = [answer.start_logit + answer.end_logit for answer in answers[question]]
        assert scores == pytest.approx([score for _, score in expected])
        total = sum(math.exp(score) for score in scores)
        assert [answer.probability for answer in answers[question]] == pytest.approx(
            [math.exp(score) / total for score in scores]
        )


def test_answers_stand_in_the_context_where_they_say(demo_dev: SquadSet, demo_features: Features) -> None:
    start, end = random_logits(demo_features)
    for question, answers in decode(demo_dev, demo_features, start, end, 20, 30).items():
        context = demo_dev.paragraphs[demo_dev.questions[question].paragraph].context
        assert answers[0].text
        assert all(context[answer.start : answer.end] == answer.text for answer in answers)
        assert len({answer.text for answer in answers}) == len(answers) <= 20


def test_a_perfect_model_gets_the_answers_of_the_file(demo_dev: SquadSet, demo_features: Features) -> None:
    start, end = (np.zeros((len(demo_features), 96), np.float32) for _ in range(2))
    rows = np.arange(len(demo_features))
    start[rows, demo_features.start] = end[rows, demo_features.end] = 9.0
    answers = decode(demo_dev, demo_features, start, end, 20, 30)
    assert all(answers[index][0].text == question.answers[0].text for index, question in enumerate(demo_dev.questions))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38])
def test_a_model_that_has_diverged_still_gets_answers_that_are_json(
    value: float, demo_dev: SquadSet, demo_features: Features
) -> None:
    logits = np.full((len(demo_features), int(demo_features.lengths.max())), value, np.float32)
    for answers in decode(demo_dev, demo_features, logits, logits, 20, 30).values():
        assert answers[0].text
        assert all(math.isfinite(answer.probability + answer.start_logit) for answer in answers)


def test_only_a_context_without_tokens_gets_an_empty_answer(tokenizer: BertTokenizer) -> None:
    data = SquadSet("", "", (Paragraph("\u200b", ""), Paragraph("Yes", "")), ())
    questions = (Question("a", "Why?", (), 0), Question("b", "Why?", (), 1))
    data = SquadSet("", "", data.paragraphs, questions)
    features = make_features(data, tokenizer, Settings(32, 8, 8))
    answers = decode(data, features, *random_logits(features), n_best=20, longest=30)
    assert answers[0] == [Answer("", 0, 0, 1.0, 0.0, 0.0)]
    assert [answer.text for answer in answers[1]] == ["Yes"]
    assert answers[1][0].probability == 1.0


def test_every_question_of_the_whole_dev_set_gets_an_answer(squad_dev: SquadSet, tokenizer: BertTokenizer) -> None:
    features = make_features(squad_dev, tokenizer, Settings(384, 128, 64))
    start, end = random_logits(features, width=384)
    windows = [
        candidates
        for first in range(0, len(features), 32)
        for candidates in window_candidates(
            features,
            np.arange(first, min(first + 32, len(features))),
            start[first : first + 32],
            end[first : first + 32],
            20,
            30,
        )
    ]
    bounds = np.searchsorted(features.question, np.arange(len(squad_dev.questions) + 1))
    answers = [
        best_answers(windows[first:last], squad_dev.paragraphs[question.paragraph].context, 20)
        for question, first, last in zip(squad_dev.questions, bounds[:-1], bounds[1:], strict=True)
    ]
    assert len(answers) == 10570
    assert all(answer[0].text for answer in answers)
