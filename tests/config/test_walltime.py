import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertjob.config import walltime
from bertjob.errors import SpecError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("1:30", 90),
        ("00:20:00", 1200),
        ("1-12", 129600),
        ("2-0:30", 174600),
        ("1-02:03:04", 93784),
        ("90:00", 5400),
    ],
)
def test_slurms_forms(text, seconds):
    assert walltime.parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "abc", "-5", "0", "0:00", "1-", "1:2:3:4", "1.5", "UNLIMITED", "٣", "9" * 40, "1h"]
)
def test_what_is_none_of_them_is_refused_in_one_line(text):
    with pytest.raises(SpecError) as refusal:
        walltime.parse(text)
    assert "\n" not in str(refusal.value)
    assert repr(text) in str(refusal.value)


@given(st.integers(1, 10 * 366 * 86400))
def test_what_is_rendered_is_read_back(seconds):
    assert walltime.parse(walltime.render(seconds)) == seconds


@given(st.text(max_size=12))
def test_no_text_breaks_the_parser(text):
    try:
        seconds = walltime.parse(text)
    except SpecError as error:
        assert repr(text) in str(error)  # noqa: PT017
    else:
        assert seconds > 0
