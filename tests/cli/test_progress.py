"""What the displays of progress show on a terminal, and that they show no bar anywhere else."""

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from bertjob.cli import output, progress
from bertjob.rundir.directory import RunDir
from bertjob.rundir.messages import AnsweringProgress, PreparationProgress
from bertjob.rundir.state import RunState, write_state


class Terminal(io.StringIO):
    """What a person saw."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Each line in each of its states, without colours, bars and blanks at the end."""
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|━+|╸|╺", "", self.getvalue())
        return [re.sub(r" +", " ", line).strip() for line in re.split(r"[\r\n]", plain)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """stderr is one."""
    seen = Terminal()
    console = Console(file=seen, force_terminal=True, width=100, highlight=False)
    monkeypatch.setattr(output, "prose", lambda: console)
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=seen))  # pytest itself sets that of sys
    return seen


def prepare() -> None:
    with progress.showing_preparation() as show:
        for done in (0, 1, 4):
            show(PreparationProgress("shards", done * 1_000_000, 4_000_000, shards=done, kept=done // 4))


def answer() -> None:
    with progress.showing_answers() as show:
        show(AnsweringProgress(1, 5))
        show(AnsweringProgress(5, 5))


def download() -> None:
    progress.show_download("dev.json", 1_000_000, 3_000_000)
    progress.show_download("dev.json", 3_000_000, 3_000_000)


def test_a_preparation_has_a_bar_with_its_shards(terminal: Terminal) -> None:
    prepare()
    assert any(re.fullmatch(r"shards 4\.0/4\.0 MB .* ETA [\d:-]+ 4 shards, 1 kept", line) for line in terminal.lines())


def test_answers_have_a_bar_that_goes_at_the_end(terminal: Terminal) -> None:
    answer()
    assert any(re.fullmatch(r"reading 5/5 ETA [\d:-]+", line) for line in terminal.lines())
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is erased


def test_a_download_is_one_line(terminal: Terminal) -> None:
    download()
    assert terminal.getvalue() == "\rdev.json 1.0 of 3.0 MB\rdev.json 3.0 of 3.0 MB\n"


def test_a_job_that_is_waited_for_says_how_far_it_is(terminal: Terminal, tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.logs.mkdir()
    with progress.showing_queue(run_dir, "77") as show:
        for step in (
            lambda: None,
            (run_dir.logs / "start.nodes").touch,
            lambda: write_state(run_dir.state, RunState(phase="proving", time=time.time(), world_size=4)),
        ):
            step()
            show()
            time.sleep(0.2)  # rich draws it 12 times a second
    said = "\n".join(terminal.lines())
    for stage in ("waits in the queue", "starts the program on every node", "proving, 4 ranks"):
        assert f"job 77 {stage}, 0 s" in said


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (prepare, "shards: 20 % of 4.0 MB\nshards: 100 % of 4.0 MB\n"),
        (answer, ""),
        (download, ""),
    ],
)
def test_elsewhere_there_are_lines_or_nothing(
    act: Callable[[], None], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    act()
    assert capsys.readouterr().err == said
