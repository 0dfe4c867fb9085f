"""Looking words up gives the tokens that the tokenizer gives."""

# ruff: noqa: RUF001  the odd characters are meant

from pathlib import Path

import pytest
from byte_level import byte_level
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjob.errors import DataError
from bertjob.train.corpus.encode import Encoder, word_by_word
from bertjob.train.corpus.vocabulary import marks, train_vocabulary, write_vocabulary
from bertjob.train.data.special_tokens import BERT
from bertjob.train.data.tokenizer import BertTokenizer, load_tokenizer

ODD = "aB9 .,'-_\t\r\x00\x1c\x7f\x85\xa0\u0301\u200b\u2028éÉßİΣσς中文。＠\ud7ff😀ﬁ"
CORPUS = [f"the cat number {number} sat on the mat, naïvely; was it {number * 7}? Yes! 猫" for number in range(300)]
TEXTS = st.text(st.one_of(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), st.sampled_from(ODD)))


def by_sentence(tokenizer: BertTokenizer, documents: list[list[str]]) -> list[list[list[int]]]:
    """The reference: the library, sentence by sentence; what has no tokens is left out."""
    spaced = tokenizer.byte_level

    def running(number: int, sentence: str) -> str:
        return f" {sentence}" if spaced and number else sentence

    ids = [
        [
            tokenizer.tokenizer.encode(running(number, sentence), add_special_tokens=False).ids
            for number, sentence in enumerate(document)
        ]
        for document in documents
    ]
    return [kept for document in ids if (kept := [sentence for sentence in document if sentence])]


def looked_up(encoder: Encoder, documents: list[list[str]]) -> list[list[list[int]]]:
    """The encoder's tokens in the same form."""
    encoded = encoder.encode(documents)
    tokens, sentences = iter(encoded.tokens.tolist()), iter(encoded.sentences.tolist())
    found = [
        [[next(tokens) for _ in range(next(sentences))] for _ in range(count)] for count in encoded.documents.tolist()
    ]
    assert next(tokens, None) is None
    assert next(sentences, None) is None
    return found


def cased(demo_model: Path, folder: Path) -> BertTokenizer:
    (folder / "vocab.txt").write_bytes((demo_model / "vocab.txt").read_bytes())
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenize_chinese_chars": false}')
    return load_tokenizer(folder)


@pytest.fixture(scope="module", params=["uncased", "cased", "bytes"])
def plain(request: pytest.FixtureRequest, demo_model: Path, tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    folder = tmp_path_factory.mktemp("other")
    if request.param == "bytes":
        return load_tokenizer(byte_level(folder, [ODD, *CORPUS]))
    return load_tokenizer(demo_model) if request.param == "uncased" else cased(demo_model, folder)


@pytest.fixture(scope="module")
def encoder(plain: BertTokenizer) -> Encoder:
    assert word_by_word(plain)
    return Encoder(plain, known_words=50)  # so few that it often forgets


@settings(max_examples=300, deadline=None)
@given(documents=st.lists(st.lists(TEXTS, min_size=1, max_size=4), max_size=4))
def test_any_text_becomes_the_tokens_of_the_library(
    documents: list[list[str]], plain: BertTokenizer, encoder: Encoder
) -> None:
    assert looked_up(encoder, documents) == by_sentence(plain, documents)


@pytest.mark.parametrize("name", ["gutenberg/Ulysses_4300.txt", "wikitext2-raw.test.txt"])
def test_real_text_becomes_the_tokens_of_the_library(test_data: Path, tokenizer: BertTokenizer, name: str) -> None:
    lines = [[line] for line in (test_data / "corpora" / name).read_text().split("\n")[:4000]]
    fresh = load_tokenizer(tokenizer.source)
    assert looked_up(Encoder(fresh), lines) == by_sentence(fresh, lines)


def test_marks_in_a_text_are_text(demo_model: Path) -> None:
    fresh = load_tokenizer(demo_model / "tokenizer.json")
    (found,) = looked_up(Encoder(fresh), [["the [MASK] and [SEP]"]])
    assert not set(found[0]) & set(marks(fresh).values())


def test_a_tokenizer_of_another_kind_gets_whole_sentences(demo_model: Path) -> None:
    fresh = load_tokenizer(demo_model)
    fresh.tokenizer.add_tokens(["quick brown"])
    assert not word_by_word(fresh)
    (found,) = looked_up(Encoder(fresh), [["the quick brown fox"]])
    assert found == [fresh.tokenizer.encode("the quick brown fox", add_special_tokens=False).ids]


def test_a_trained_vocabulary_is_the_same_each_time_and_begins_with_the_marks(tmp_path: Path) -> None:
    one, other = (train_vocabulary(lambda: CORPUS, 200) for _ in range(2))
    assert one == other
    assert len(one) <= 200
    assert tuple(one[:5]) == BERT
    assert "the" in one
    trained = load_tokenizer(write_vocabulary(one, tmp_path))
    assert marks(trained) == {mark: number for number, mark in enumerate(BERT)}
    assert trained.tokenizer.encode("The cat", add_special_tokens=False).tokens == ["the", "cat"]
    assert trained.tokenizer.encode("naively", add_special_tokens=False).tokens == ["naively"]


def test_a_vocabulary_needs_room_for_the_characters_and_a_corpus() -> None:
    with pytest.raises(DataError, match=r"--train-vocab 20: the corpus' characters alone take \d+ tokens"):
        train_vocabulary(lambda: CORPUS, 20)
    with pytest.raises(DataError, match="holds no text to train a vocabulary on"):
        train_vocabulary(list, 200)
