"""The table of status keeps every value whole, whatever the width of the terminal."""

import io

import msgspec
import pytest
from rich.cells import cell_len
from rich.console import Console

from bertjob.cli.status_table import status_table
from bertjob.cluster.runs.status import Row

RUNNING = Row(
    job_id="4711123",
    name="squad-20261120-101500-3fa9",
    site="daint",
    state="running",
    reason="",
    nodes="nid0000[1-8]",
    phase="training",
    step=7350,
    total_steps=14750,
    loss=1.2345,
    samples_per_second=234.51,
    eta_seconds=4321.0,
    heartbeat_seconds=12.0,
    stale=False,
    metrics={},
    exact_match=None,
    f1=None,
    warning="checkpoint not written: disk full",
    run_dir="/runs/squad-20261120-101500-3fa9",
)
SQUAD = {"exact_match": 91.09, "f1": 92.01}


def printed(width: int, *rows: Row) -> str:
    text = io.StringIO()
    Console(file=text, width=width).print(status_table(rows, width))
    return text.getvalue()


@pytest.mark.parametrize(
    ("width", "shown", "left_out"),
    [
        (200, ["daint", "1.234", "234.5", "1:12:01", "12 s"], []),
        (100, ["1.234", "234.5", "1:12:01", "12 s"], ["daint"]),
        (80, ["12 s"], ["daint", "234.5", "1.234"]),
    ],
)
def test_a_narrow_terminal_has_fewer_columns_and_no_cut_value(width, shown, left_out):
    text = printed(width, RUNNING)
    for word in ("4711123", RUNNING.name, "training", "7350/14750", RUNNING.warning, *shown):
        assert word in text
    assert not any(word in text for word in left_out)
    assert "…" not in text
    assert all(len(line.rstrip()) <= width for line in text.splitlines())


def test_a_remark_stands_in_the_table_where_it_has_room_and_below_it_where_not():
    assert len(printed(200, RUNNING).splitlines()) == 2
    assert printed(100, RUNNING).splitlines()[-1].strip() == f"{RUNNING.name}: {RUNNING.warning}"


def test_a_local_run_has_no_id_and_long_names_are_folded_before_a_number_is_cut():
    name = "squad-demo-20261120-140433-b5d6-with-a-long-tail"
    local = msgspec.structs.replace(RUNNING, job_id="local", name=name, metrics=SQUAD)
    text = printed(60, local)
    assert "local" not in text
    assert "7350/14750" in text
    assert "91.1 92.0" in text
    assert name in "".join(line.split(" ")[0] for line in text.splitlines())


def test_no_runs_are_a_table_without_rows():
    assert len(printed(80).splitlines()) == 1


def test_columns_line_up_whatever_the_names_are_made_of():
    plain = msgspec.structs.replace(RUNNING, warning="")
    wide = msgspec.structs.replace(plain, name="squad-漢字-3fa9", step=8, heartbeat_seconds=200.0)
    head, *lines = printed(200, plain, wide).splitlines()
    for title, values in {
        "step": ("7350/14750", "8/14750"),
        "ETA": ("1:12:01",) * 2,
        "heartbeat": ("12 s", "3:20"),
    }.items():
        end = head.index(title) + len(title)
        for line, value in zip(lines, values, strict=True):
            assert cell_len(line.partition(value)[0] + value) == end


PRETRAINED = {"mlm_loss": 2.3456, "mlm_accuracy": 54.321, "nsp_accuracy": 97.04}


@pytest.mark.parametrize(
    ("metrics", "title", "cell"),
    [
        (SQUAD, "EM F1", "91.1 92.0"),
        (PRETRAINED, "MLM acc NSP", "2.35 54.3 97.0"),
        ({"mlm_loss": 2.3456, "mlm_accuracy": 54.321}, "MLM acc", "2.35 54.3"),
        ({"of_a_newer_version": 0.123}, "of_a_newer_version", "0.12"),
    ],
)
def test_each_task_has_a_column_with_its_own_metrics(metrics, title, cell):
    done = msgspec.structs.replace(RUNNING, warning="", metrics=metrics)
    head, line = printed(200, done).splitlines()
    assert head.split("heartbeat")[1].strip() == title
    assert line.endswith(f"  {cell}")


def test_runs_of_several_tasks_have_a_column_for_each():
    plain = msgspec.structs.replace(RUNNING, warning="")
    tuned, made = (msgspec.structs.replace(plain, metrics=metrics) for metrics in (SQUAD, PRETRAINED))
    head, *lines = (line.split("  ") for line in printed(200, plain, tuned, made, tuned).splitlines())
    assert [word.strip() for word in head if word][-2:] == ["EM F1", "MLM acc NSP"]
    assert [line[-1].strip() for line in lines] == ["12 s", "91.1 92.0", "2.35 54.3 97.0", "91.1 92.0"]
    assert not any("91.1 92.0" in line for line in (lines[0], lines[2]))
