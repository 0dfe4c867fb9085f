import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from bertjob.config.job import Job
from bertjob.config.load import dump
from bertjob.formats.squad import SquadSet
from bertjob.rundir.directory import RunDir
from bertjob.train.data.tokenizer import BertTokenizer
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.tasks.squad.ask import main


@pytest.fixture(scope="module")
def run(tiny_job: Job, tokenizer: BertTokenizer, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that has ended: its job, and a model."""
    run_dir = RunDir(tmp_path_factory.mktemp("runs") / "tiny")
    run_dir.path.mkdir()
    run_dir.job.write_text(dump(tiny_job))
    build_question_answering(tiny_job).save_pretrained(run_dir.model)
    tokenizer.save(run_dir.model)
    return run_dir


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, object]]:
    assert main(arguments) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in said if "answer" in line]


def test_dev_questions_are_answered_in_their_paragraphs(
    run: RunDir, demo_dev: SquadSet, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = asked(capsys, str(run.path), "--start", "4", "--count", "5")
    assert len(answers) == 5
    for answer, question in zip(answers, demo_dev.questions[4:9], strict=True):
        assert answer["id"] == question.id
        assert answer["question"] == question.text
        assert answer["context"] == demo_dev.paragraphs[question.paragraph].context
        assert answer["gold"] == [right.text for right in question.answers]
        context, start, end = answer["context"], answer["start"], answer["end"]
        assert isinstance(context, str)
        assert isinstance(start, int)
        assert isinstance(end, int)
        assert context[start:end] == answer["answer"] != ""
        assert isinstance(answer["probability"], float)
        assert 0 < answer["probability"] <= 1


def test_a_question_of_ones_own_is_answered(run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "context.txt"
    file.write_text("\ufeffAda Lovelace was born in London.\n", encoding="utf-8")
    (answer,) = asked(capsys, str(run.path), "--question", "Where?", "--context-file", str(file))
    assert answer["context"] == "Ada Lovelace was born in London."
    assert answer["gold"] == []
    assert str(answer["answer"]) in "Ada Lovelace was born in London."


def test_the_paragraph_may_come_from_standard_input_and_a_terminal_shows_how_far_it_is(run: RunDir) -> None:
    here, there = pty.openpty()
    words = ["ask", str(run.path), "--question", "-- where?", "--context", "-", "--json"]
    command = [str(Path(sys.executable).with_name("bertjob")), *words]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": there}
    with subprocess.Popen(command, **streams, env=environment) as process:  # type: ignore[call-overload]
        os.close(there)
        process.stdin.write(b"Ada Lovelace was born in London.\n")
        process.stdin.close()
        shown = read_to_the_end(here)
        (answer,) = json.loads(process.stdout.read())
    assert process.returncode == 0
    assert answer["question"] == "-- where?"
    assert answer["context"] == "Ada Lovelace was born in London."
    assert b"loading the model" in shown
    assert b"ETA" in shown


def test_a_long_context_is_read_in_pieces_that_are_told(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "context.txt"
    file.write_text("Ada Lovelace was born in London. " * 800)
    assert main([str(run.path), "--question", "Where?", "--context-file", str(file)]) == 0
    *steps, _ = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(steps) > 1
    assert all(step.keys() == {"read", "pieces"} for step in steps)
    assert [step["read"] for step in steps] == sorted({step["read"] for step in steps})
    assert {step["pieces"] for step in steps} == {steps[-1]["read"]}


def read_to_the_end(terminal: int) -> bytes:
    shown = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown


def test_the_newest_checkpoints_model_answers_before_there_is_a_finished_one(
    run: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfinished = RunDir(tmp_path / "run")
    unfinished.checkpoint(20).mkdir(parents=True)
    unfinished.job.write_bytes(run.job.read_bytes())
    (unfinished.checkpoint(20) / "model").symlink_to(run.model)
    assert main([str(unfinished.path)]) == 1
    assert "no model yet" in capsys.readouterr().err
    unfinished.latest.write_text("step-000020\n")
    assert asked(capsys, str(unfinished.path)) == asked(capsys, str(run.path))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--start", "100000"], "questions, counted from 0: none from 100000 on"),
        (["--question", "Where?", "--context-file", "/none.txt"], "/none.txt: No such file"),
        (["--question", "Where?", "--context-file", "/dev/null"], "/dev/null: is a device and not a file"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], says: str, run: RunDir, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run.path), *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert says in captured.err
    assert len(captured.err.splitlines()) == 1


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bertjob.train.tasks.squad.ask", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"{tmp_path}/job.yaml: cannot be read: No such file or directory"]
