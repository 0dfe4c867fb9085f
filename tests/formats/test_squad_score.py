from pathlib import Path

import pytest

from bertjob.errors import DataError
from bertjob.formats.squad import Answer, Paragraph, Question, SquadSet
from bertjob.formats.squad_score import Predictions, normalise, read_predictions, score, word_f1


def squad(*answers: tuple[str, tuple[str, ...]]) -> SquadSet:
    questions = tuple(Question(id, "?", tuple(Answer(text, 0) for text in texts), 0) for id, texts in answers)
    return SquadSet("f.json", "", (Paragraph("", ""),), questions)


@pytest.mark.parametrize(
    ("file", "exact_match", "f1"),
    [
        ("yifan-guo01.json", 83.45316934720908, 89.54492400733047),
        ("heytgala.json", 37.776726584673604, 50.62683542311178),
    ],
)
def test_official_scores_are_reproduced(
    file: str, exact_match: float, f1: float, test_data: Path, squad_dev: SquadSet
) -> None:
    result = score(squad_dev, read_predictions(test_data / "squad" / "predictions" / file))
    assert result.exact_match == pytest.approx(exact_match, abs=1e-9)
    assert result.f1 == pytest.approx(f1, abs=1e-9)
    assert result.total == 10570
    assert result.unanswered == result.unknown == result.duplicated == result.repeated == ()


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Cat", "cat"),
        ("an apple, a day!", "apple day"),
        ("A.N. Other", "other"),
        ("theatre", "theatre"),
        ("well-known", "wellknown"),
        ("“quoted”", "“quoted”"),  # as in the script, only ASCII punctuation goes
        ("the", ""),
    ],
)
def test_normalising(text: str, normal: str) -> None:
    assert normalise(text) == normal


def test_f1_counts_words_with_repetition() -> None:
    assert word_f1("New York York", "New York City") == pytest.approx(2 / 3)
    assert word_f1("York", "New York City") == pytest.approx(2 * 1 * (1 / 3) / (1 + 1 / 3))
    assert word_f1("Paris", "New York") == 0.0
    assert word_f1("the", "a") == 0.0  # as in the script: nothing is left of either, so nothing is common


def test_the_best_of_several_right_answers_counts() -> None:
    result = score(squad(("q", ("Paris", "the city of Paris"))), Predictions({"q": "City of Paris"}))
    assert (result.exact_match, result.f1) == (100.0, 100.0)


def test_missing_and_unknown_ids_are_named_and_missing_ones_count_zero() -> None:
    data = squad(("q1", ("a b",)), ("q2", ("c",)))
    result = score(data, Predictions({"q1": "b", "x": "c"}))
    assert result.unanswered == ("q2",)
    assert result.unknown == ("x",)
    assert result.exact_match == 50.0
    assert result.f1 == 50.0
    assert result.total == 2


def test_questions_that_share_an_id_all_count_and_are_named() -> None:
    data = squad(("q", ("one",)), ("q", ("two",)), ("r", ("two",)))
    result = score(data, Predictions({"q": "two", "r": "two"}))
    assert result.total == 3
    assert result.exact_match == pytest.approx(200 / 3)
    assert result.duplicated == ("q",)


def test_an_id_that_comes_twice_in_the_predictions_is_named_and_the_last_counts(tmp_path: Path) -> None:
    file = tmp_path / "predictions.json"
    file.write_text('{"q": "wrong", "r": "x", "q": "right"}')
    predictions = read_predictions(file)
    assert predictions.answers == {"q": "right", "r": "x"}
    assert score(squad(("q", ("right",))), predictions).repeated == ("q",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "must be one JSON object"),
        ('{"q": null}', "q: the answer must be text, is NoneType"),
        ('{"q": [{"q": "x"}]}', "q: the answer must be text, is list"),
        ('{"q": "x"', "line 1"),
    ],
)
def test_predictions_of_another_form_are_refused(content: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "predictions.json"
    file.write_text(content)
    with pytest.raises(DataError) as caught:
        read_predictions(file)
    assert says in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_score_is_independent_of_the_order_of_predictions() -> None:
    data = squad(("q1", ("a b",)), ("q2", ("c",)))
    answers = {"q1": "b", "q2": "c"}
    assert score(data, Predictions(answers)) == score(data, Predictions(dict(reversed(answers.items()))))
