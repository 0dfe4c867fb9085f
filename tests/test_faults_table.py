"""The table of faults: its rows are kept from run to run."""

from pathlib import Path

from faults_table import kept, row, table

FAULTS = Path(__file__).parents[1] / "docs" / "faults.md"


def test_rows_of_tests_that_did_not_run_stay(tmp_path: Path) -> None:
    file = tmp_path / "faults.md"
    first = {"a fault": row("a fault", "yes", "nothing", "its name | more", "3 s")}
    file.write_text("# Faults\n\n" + table(first))
    assert kept(file) == first
    newer = kept(file) | {"another": row("another", "**failed**", "**failed**", "**failed**", "1 s")}
    file.write_text("# Faults\n\n" + table(newer))
    assert kept(file) == newer
    assert kept(tmp_path / "none.md") == {}


def test_the_table_in_docs_has_all_faults_and_no_failure() -> None:
    rows = kept(FAULTS)
    assert len(rows) >= 45
    assert not [fault for fault, line in rows.items() if "**failed**" in line]
