"""The tree keeps its shape: neither crumbs nor lumps, one subject per name, no exception to the order of imports."""

import statistics

from tests import shape

MODULES = shape.modules()


def test_the_median_module_is_worth_opening() -> None:
    assert statistics.median(module.lines for module in MODULES) >= 110


def test_few_modules_are_small() -> None:
    small = [module.name for module in MODULES if module.lines < shape.SMALL]
    assert len(small) <= 0.18 * len(MODULES), small


def test_no_module_is_long() -> None:
    assert [module.name for module in MODULES if module.lines > 420] == []


def test_a_small_module_with_one_importer_is_part_of_it() -> None:
    assert shape.lonely(MODULES) == []


def test_a_stem_names_one_subject() -> None:
    assert shape.repeated_stems(MODULES) == {}


def test_stems_that_are_shared_for_a_reason_are_shared() -> None:
    stems = [module.stem for module in MODULES]
    assert all(stems.count(stem) > 1 for stem in shape.SHARED_STEMS)


def test_the_order_of_imports_has_no_exception() -> None:
    assert shape.exceptions() == 0
