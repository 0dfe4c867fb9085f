"""Words come out of bash, and of sbatch's own parser, as they went in."""

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertjob.launch.argv import Text, Word, fold, has_control_characters, parse, quote, quote_directive, variable

HOSTILE = [
    "a'; echo foo",
    "$(touch x)",
    "`touch x`",
    'say "hi"',
    "back\\slash",
    "sp  ace",
    "",
    "~",
    "*",
    "!x",
    "é\n#",
    "$A",
]
LITERALS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def read_by_bash(words: list[str], **variables: str) -> list[str]:
    """What bash makes of quoted words."""
    script = f"printf '%s\\0' {' '.join(words)}" if words else ""
    done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_literal_stays_what_it_is(text: str) -> None:
    assert read_by_bash([quote(text)]) == [text]


@given(st.lists(LITERALS, min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_any_literals_stay_what_they_are(texts: list[str]) -> None:
    assert read_by_bash([quote(text) for text in texts]) == texts
    assert read_by_bash([quote(text + variable("A")) for text in texts], A="$B`") == [text + "$B`" for text in texts]


@pytest.mark.parametrize("text", ["=mlx5_0,mlx5_1", "=a b", "="])
def test_an_assignment_of_what_begins_with_an_equals_sign_is_no_comparison(text: str) -> None:
    assert quote(text).startswith("'=")
    assert read_by_bash([quote(text)]) == [text]


def test_only_plain_references_are_replaced() -> None:
    word = parse('$A/${B}c$(no)`no`\\${A:-x}"$1')
    assert read_by_bash([quote(word)], A="1  '2", B="3") == ["1  '2/3c$(no)`no`\\${A:-x}\"$1"]


def test_text_without_references_is_literal() -> None:
    assert parse("/plain $ 5") == "/plain $ 5"
    assert isinstance(parse("$HOME"), Text)


def test_what_is_added_to_a_reference_is_literal() -> None:
    word = "--source=$A," + variable("A") + "b$A"
    assert read_by_bash([quote(word)], A="x") == ["--source=$A,xb$A"]


def test_an_option_keeps_its_name_outside_of_the_quotes() -> None:
    assert quote("--workdir=" + variable("RUN")) == '--workdir="$RUN"'
    assert quote("--workdir=$(x)") == '--workdir="\\$(x)"'


def test_references_are_listed_and_replaced() -> None:
    word = parse("$A/${B}/$A")
    assert isinstance(word, Text)
    assert word.references == ("A", "B", "A")
    assert word.replaced({"A": "1", "B": "2"}) == "1/2/1"
    assert str(word) == "${A}/${B}/${A}"


def test_lines_break_before_options_only() -> None:
    words: tuple[Word, ...] = ("mpirun", "-n", "8", "-x", "A", "-x", "B", "--bind=none", "image")
    assert fold(words, 12) == ["mpirun -n 8", "-x A -x B", "--bind=none", "image"]
    assert fold(words, 80) == ["mpirun -n 8 -x A -x B --bind=none image"]


def test_assignments_of_env_may_stand_on_lines_of_their_own_but_not_apart_from_an_option() -> None:
    words = ("--nv", "image", "env", "A=" + variable("A"), "B=1", "--env", "C=2")
    assert fold(words, 12) == ["--nv image env", '"A=$A" B=1', "--env C=2"]


def read_by_sbatch(text: str) -> str:
    """An argument of an #SBATCH line as sbatch reads it: quotes group, and a backslash escapes inside them too."""
    argument, quote_mark, characters = "", "", iter(text)
    for character in characters:
        if character == "\\":
            argument += next(characters)
        elif character == quote_mark:
            quote_mark = ""
        elif not quote_mark and character in "\"'":
            quote_mark = character
        else:
            assert quote_mark or not character.isspace()
            assert quote_mark or character != "#"
            argument += character
    assert not quote_mark
    return argument


@given(LITERALS)
def test_a_directive_stays_what_it_is(text: str) -> None:
    if not has_control_characters(text):
        assert read_by_sbatch(quote_directive(text)) == text


@pytest.mark.parametrize("text", ["01:00:00", "/runs/squad-1/logs/%j.out", "gpu", "B:USR1@120"])
def test_a_plain_directive_is_not_quoted(text: str) -> None:
    assert quote_directive(text) == text


@pytest.mark.parametrize("text", ["a\nb", "\r", "\x1b[31m", "\x7f"])
def test_control_characters_are_seen(text: str) -> None:
    assert has_control_characters(text)
    assert not has_control_characters("plain é")
