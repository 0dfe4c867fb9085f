import pytest

from bertjob.text import counted, did_you_mean


@pytest.mark.parametrize(("number", "said"), [(0, "0 ranks"), (1, "1 rank"), (2, "2 ranks")])
def test_a_noun_has_the_number_of_what_is_counted(number: int, said: str) -> None:
    assert counted(number, "rank") == said


def test_a_close_name_is_proposed_else_all_are() -> None:
    assert did_you_mean("Slrm", ("none", "slurm")) == "did you mean 'slurm'?"
    assert did_you_mean("x", ("slurm", "none")) == "known: none, slurm"
