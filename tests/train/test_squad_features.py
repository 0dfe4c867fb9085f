import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tokenizers import Tokenizer

from bertjob.config.job import Train
from bertjob.errors import DataError, SpecError
from bertjob.formats.squad import Answer, Paragraph, Question, SquadSet
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer
from bertjob.train.tasks.squad.features import Features, Settings, make_features


class Window(NamedTuple):
    tokens: list[str]
    start: int
    end: int
    spans: list[tuple[int, int] | None]
    best: list[bool]


def reference(question: str, context: str, answer: Answer, library: Tokenizer, settings: Settings) -> list[Window]:
    """One question's windows, token by token, as the original run_squad describes them."""
    query = library.encode(question, add_special_tokens=False).tokens[: settings.max_query_length]
    encoding = library.encode(context, add_special_tokens=False)
    room = settings.max_seq_length - len(query) - 3

    first = last = None
    for index, (begin, end) in enumerate(encoding.offsets):
        if begin < answer.start + len(answer.text) and end > answer.start:
            first = index if first is None else first
            last = index

    shown: list[tuple[int, int]] = []
    begin = 0
    while True:
        length = min(len(encoding.tokens) - begin, room)
        shown.append((begin, length))
        if begin + length >= len(encoding.tokens):
            break
        begin += min(length, settings.doc_stride)

    def is_best(number: int, token: int) -> bool:
        scores = {}
        for other, (start, length) in enumerate(shown):
            if start <= token < start + length:
                scores[other] = min(token - start, start + length - 1 - token) + 0.01 * length
        return number == max(scores, key=lambda other: scores[other])  # of equals the first

    windows = []
    for number, (begin, length) in enumerate(shown):
        tokens = ["[CLS]", *query, "[SEP]", *encoding.tokens[begin : begin + length], "[SEP]"]
        before, after = [None] * (len(query) + 2), [None]
        spans = [*before, *encoding.offsets[begin : begin + length], *after]
        best = [is_best(number, token) for token in range(begin, begin + length)]
        start = end = 0
        if first is not None and last is not None and first >= begin and last < begin + length:
            start, end = first - begin + len(query) + 2, last - begin + len(query) + 2
        windows.append(Window(tokens, start, end, spans, [False] * len(before) + best + [False]))
    return windows


def windows_of(features: Features, question: int, library: Tokenizer) -> list[Window]:
    windows = []
    for sample in np.flatnonzero(features.question == question):
        ids = features.input_ids[features.offsets[sample] : features.offsets[sample + 1]]
        context = features.query_length[sample] + 2
        spans: list[tuple[int, int] | None] = [None] * len(ids)
        for place in range(context, len(ids) - 1):
            begin, end = features.spans[features.window[sample] + place - context]
            spans[place] = (int(begin), int(end))
        windows.append(
            Window(
                [str(library.id_to_token(token)) for token in ids.tolist()],
                int(features.start[sample]),
                int(features.end[sample]),
                spans,
                features.best_context[features.offsets[sample] : features.offsets[sample + 1]].tolist(),
            )
        )
    return windows


@pytest.mark.parametrize(
    "settings",
    [Settings(384, 128, 64), Settings(96, 32, 24), Settings(64, 100, 16), Settings(48, 5, 8)],
    ids=lambda settings: f"{settings.max_seq_length}-{settings.doc_stride}",
)
def test_features_are_those_of_the_plain_reference(
    settings: Settings, squad_dev: SquadSet, tokenizer: BertTokenizer
) -> None:
    some = random.Random(0).sample(range(len(squad_dev.questions)), 60)
    data = SquadSet("", "", squad_dev.paragraphs, tuple(squad_dev.questions[index] for index in some))
    features = make_features(data, tokenizer, settings)
    for index, question in enumerate(data.questions):
        context = data.paragraphs[question.paragraph].context
        expected = reference(question.text, context, question.answers[0], tokenizer.tokenizer, settings)
        assert windows_of(features, index, tokenizer.tokenizer) == expected


def test_every_question_of_squad_is_kept_and_its_answer_is_in_a_window(
    squad_dev: SquadSet, tokenizer: BertTokenizer
) -> None:
    features = make_features(squad_dev, tokenizer, Settings(384, 128, 64))
    assert np.array_equal(np.unique(features.question), np.arange(10570))
    assert len(features) == 10833
    assert features.lengths.max() <= 384
    answered = np.unique(features.question[features.start > 0])
    assert len(answered) == 10570
    assert (features.end >= features.start).all()
    # Each context token of a question is in the middle of exactly one of its windows.
    best = np.add.reduceat(features.best_context, features.offsets[:-1])
    context_tokens = dict.fromkeys(range(10570), 0)
    for sample, question in enumerate(features.question.tolist()):
        tokens = features.lengths[sample] - features.query_length[sample] - 3
        first = features.window[sample] - features.window[np.searchsorted(features.question, question)]
        context_tokens[question] = max(context_tokens[question], int(first + tokens))
    assert np.array_equal(np.bincount(features.question, weights=best), list(context_tokens.values()))


def test_answers_in_characters_are_those_of_the_file(demo_dev: SquadSet, demo_features: Features) -> None:
    for sample in np.flatnonzero(demo_features.start):
        question = demo_dev.questions[demo_features.question[sample]]
        shift = demo_features.window[sample] - demo_features.query_length[sample] - 2
        begin = demo_features.spans[shift + demo_features.start[sample], 0]
        end = demo_features.spans[shift + demo_features.end[sample], 1]
        assert demo_dev.paragraphs[question.paragraph].context[begin:end] == question.answers[0].text


def test_a_context_without_tokens_and_a_question_without_tokens_are_kept(tokenizer: BertTokenizer) -> None:
    paragraphs = (Paragraph("\u200b", ""), Paragraph("It rained in May.", ""))
    questions = (
        Question("a", "Why?", (Answer("\u200b", 0),), 0),
        Question("b", "", (Answer("May", 13),), 1),
        Question("c", "When?", (), 1),
    )
    features = make_features(SquadSet("", "", paragraphs, questions), tokenizer, Settings(32, 8, 8))
    assert features.question.tolist() == [0, 1, 2]
    assert features.lengths.tolist() == [2 + 3, 0 + 5 + 3, 2 + 5 + 3]
    assert features.start.tolist() == [0, 2 + 3, 0]
    assert features.end.tolist() == [0, 2 + 3, 0]


def test_long_questions_are_cut(tokenizer: BertTokenizer) -> None:
    data = SquadSet("", "", (Paragraph("yes", ""),), (Question("a", "why " * 30, (Answer("yes", 0),), 0),))
    features = make_features(data, tokenizer, Settings(20, 8, 10))
    assert features.query_length.tolist() == [10]
    assert features.start.tolist() == [12]


def test_lengths_that_leave_no_room_for_a_context_are_refused() -> None:
    with pytest.raises(SpecError, match=r"train.max_seq_length 64 leaves no room .* at least 68"):
        Settings.of(Train(max_seq_length=64, max_query_length=64))
    assert Settings.of(Train(max_seq_length=68, max_query_length=64)).max_seq_length == 68


def test_a_vocabulary_gives_the_tokens_of_the_tokenizer_file(
    demo_model: Path, tokenizer: BertTokenizer, tmp_path: Path
) -> None:
    (tmp_path / "vocab.txt").write_bytes((demo_model / "vocab.txt").read_bytes())
    plain = load_tokenizer(tmp_path)
    text = "Café Zürich, don't: 1,234 [naïve] 東京 x\u0301" + " far" * 200
    assert plain.tokenizer.encode(text).ids == tokenizer.tokenizer.encode(text).ids
    assert len(plain.tokenizer.encode(text).ids) > 200  # MiniLM's own file says to cut at 128
    assert (plain.cls, plain.sep) == (tokenizer.cls, tokenizer.sep)


def test_a_cased_vocabulary_keeps_case(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\nMay\nmay\n")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert load_tokenizer(tmp_path).tokenizer.encode("May may MAY", add_special_tokens=False).ids == [4, 5, 1]
    (tmp_path / "tokenizer_config.json").unlink()
    assert load_tokenizer(tmp_path).tokenizer.encode("May may MAY", add_special_tokens=False).ids == [5, 5, 5]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("vocab.txt", "a\nb\n", r"has no token \[UNK\]"),
        ("vocab.txt", "[UNK]\na\n", r"has no token \[CLS\]"),
        ("tokenizer.json", "{", "no tokenizer that can be read"),
        ("tokenizer.json", '{"model": {"type": "WordPiece"}}', "no tokenizer that can be read"),
    ],
)
def test_what_is_no_tokenizer_of_berts_is_refused(name: str, content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=says):
        load_tokenizer(tmp_path)


def test_a_saved_tokenizer_is_the_same_and_transformers_reads_it(tokenizer: BertTokenizer, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).sha256 == tokenizer.sha256
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    text = "Ada Lovelace was born in London. " * 40
    assert theirs(text)["input_ids"] == tokenizer.tokenizer.encode(text).ids
