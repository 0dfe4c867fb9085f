"""References of registry rows: "module:name"."""

import pytest

from bertjob.config.registry.code import load_code
from bertjob.text import nearest


def test_a_reference_gives_the_function_itself():
    assert load_code("bertjob.text:nearest") is nearest


@pytest.mark.parametrize("reference", ["bertjob.text", "bertjob.text:", ":nearest", "bertjob.text:nearest:more", ""])
def test_another_form_is_refused(reference):
    with pytest.raises(ValueError, match='expected "module:name"'):
        load_code(reference)


@pytest.mark.parametrize("reference", ["bertjob.text:farthest", "bertjob.no_such_module:nearest"])
def test_a_name_that_does_not_exist_is_named(reference):
    with pytest.raises(ImportError, match=reference.split(":")[0 if "no_such" in reference else 1]):
        load_code(reference)
