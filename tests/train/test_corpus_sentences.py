"""The splitter of sentences: what ends one and what does not."""

# ruff: noqa: RUF001  the marks of other scripts are meant

import re
from pathlib import Path

import pytest

from bertjob.train.corpus.sentences import split


@pytest.mark.parametrize(
    "sentences",
    [
        ["It rained.", "We stayed in."],
        ["Did it rain?", "It did!", "We stayed in…", "All day."],
        ["Mr. Smith met Dr. J. R. Jones, Prof. Lee and Mrs. O'Hara.", "They talked."],
        ["It costs 3.50 dollars, i.e. 3.14 times 1.11.", "Too much."],
        ["See Fig. 3 and No. 5 of vol. 2, pp. 10.", "Then come back."],
        ["He lived in the U.S. Army barracks.", "She did not."],
        ["He left the U.S.", "He came back."],
        ["She works at Acme Inc. Boston, or did.", "Now she is free."],
        ["She works at Acme Inc.", "The firm is old."],
        ["Apples, pears, etc. were sold.", "All of them."],
        ["Apples, pears, etc.", "They were sold."],
        ["We met at 5 p.m. Eastern time.", "It was dark."],
        ["We met at 5 p.m.", "It was dark."],
        ['"Come in," he said.', '"It is cold."', "She came."],
        ["“Is it?”", "“It is!”", "(So it was.)", "[Indeed.]"],
        ["It was I.", "Nobody else."],
        ["Well... maybe not.", "Who knows?"],
        ["He said so...", "Then he left."],
        ["The year was 1999.", "2000 came next."],
        ["Visit example.org for more.", "It is free."],
        ["Ärger gab es nie.", "Über allem war Ruhe."],
        ["これは文です。", "次の文です！", "本当？"],
        ["St. Petersburg is north of Ft. Worth.", "Far north."],
        ["J. K. Rowling wrote it.", "E. B. White did not."],
        ["He got a Ph.D. in 1990.", "Then he left."],
        ["a sentence without a capital. and one more"],
        ["No mark at the end"],
    ],
    ids=lambda sentences: sentences[0][:30],
)
def test_sentences_are_found(sentences: list[str]) -> None:
    space = "" if sentences[0].startswith("これ") else " "
    assert split(space.join(sentences)) == sentences


def test_wrapped_lines_become_one_and_white_space_single() -> None:
    assert split("A line that\nis wrapped.  And \t another\r\none.") == ["A line that is wrapped.", "And another one."]
    assert split("  \n ") == []


def test_tokenised_text_is_split_too() -> None:
    assert split("He played a role . She was in the film , too .") == [
        "He played a role .",
        "She was in the film , too .",
    ]


def test_real_sentences_are_found_again(test_data: Path) -> None:
    """Of 9,000 sentences of Wikipedia that stand a line each, few are split otherwise when they are run together."""
    documents = (test_data / "corpora" / "wikitext2-raw.test.sent.txt").read_text().strip().split("\n\n")
    wanted = found = right = 0
    for document in documents:
        lines = document.split("\n")
        ends = set()
        position = 0
        for line in lines:
            position += len(re.sub(r"\s", "", line))
            ends.add(position)
        own = set()
        position = 0
        for sentence in split(" ".join(lines)):
            position += len(re.sub(r"\s", "", sentence))
            own.add(position)
        wanted, found, right = wanted + len(ends), found + len(own), right + len(ends & own)
    assert right / wanted > 0.95
    assert right / found > 0.95
