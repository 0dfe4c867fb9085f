"""Exact match and F1 by the rules of SQuAD's official evaluate-v1.1 script. Needs no torch and no numpy.

Rajpurkar et al., arXiv 1606.05250, section 6.1. As in the script: an answer's score is its best over the right
answers; a question without a prediction scores 0; questions that share an id are all counted; predictions for
unknown ids do not count. What the script passes over in silence is named here.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bertjob.errors import DataError
from bertjob.formats.squad import SquadSet, parse_json, read_bytes

_ARTICLE: Final = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


class Predictions(NamedTuple):
    """Answers by question id, and the ids that the file had more than once (JSON keeps the last)."""

    answers: Mapping[str, str]
    repeated: tuple[str, ...] = ()


class Score(msgspec.Struct, frozen=True):
    """How good the predictions are.

    Attributes:
        exact_match: per cent of questions whose answer is one of the right ones, after `normalise`.
        f1: mean overlap of words with the best right answer, in per cent.
        total: number of questions.
        unanswered: ids of questions without a prediction.
        unknown: ids of predictions without a question.
        duplicated: ids that several questions share.
        repeated: ids that occur several times in the predictions file.
    """

    exact_match: float
    f1: float
    total: int
    unanswered: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()


def read_predictions(path: Path) -> Predictions:
    """Read a predictions file: one JSON object, question id to answer text.

    Raises:
        DataError: the file cannot be read, or is something else.
    """
    repeated: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        repeated.extend(id for id, times in Counter(id for id, _ in pairs).items() if times > 1)
        return dict(pairs)

    answers = parse_json(read_bytes(path), str(path), collect)
    if not isinstance(answers, dict):
        raise DataError(f"{path}: must be one JSON object, question id to answer text")
    for id, answer in answers.items():
        if not isinstance(answer, str):
            raise DataError(f"{path}: {id}: the answer must be text, is {type(answer).__name__}")
    return Predictions(answers, tuple(repeated))


def score(data: SquadSet, predictions: Predictions) -> Score:
    """Score `predictions` on the questions of `data`."""
    exact = f1 = 0.0
    unanswered = []
    for question in data.questions:
        if question.id not in predictions.answers:
            unanswered.append(question.id)
            continue
        prediction = predictions.answers[question.id]
        texts = [answer.text for answer in question.answers]
        exact += _best(exact_match, prediction, texts)
        f1 += _best(word_f1, prediction, texts)
    total = len(data.questions)
    known = {question.id for question in data.questions}
    return Score(
        100.0 * exact / total,
        100.0 * f1 / total,
        total,
        tuple(unanswered),
        tuple(id for id in predictions.answers if id not in known),
        data.duplicated_ids,
        predictions.repeated,
    )


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and extra white space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
    """1 where both are the same after `normalise`, else 0."""
    return float(normalise(prediction) == normalise(answer))


def word_f1(prediction: str, answer: str) -> float:
    """Harmonic mean of precision and recall of the words, counted with repetition."""
    predicted, right = normalise(prediction).split(), normalise(answer).split()
    common = (Counter(predicted) & Counter(right)).total()
    if common == 0:
        return 0.0
    precision, recall = common / len(predicted), common / len(right)
    return 2 * precision * recall / (precision + recall)


def _best(metric: Callable[[str, str], float], prediction: str, answers: list[str]) -> float:
    return max(metric(prediction, answer) for answer in answers)
