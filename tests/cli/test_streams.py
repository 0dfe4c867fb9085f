"""Nothing that somebody else has written commands the terminal, from whichever verb it comes."""

import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes.commands import Commands

from bertjob.cli.main import cli
from bertjob.cli.streams import LogText
from bertjob.cli.verbs import ACTS, VERBS
from bertjob.cluster.runs import catalog
from bertjob.config.load import dump, load_job, load_site
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import RunState, write_state
from bertjob.text import visible, visible_line

BERTJOB = str(Path(sys.executable).with_name("bertjob"))
EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\rover\x7f\u202e\u2028"
SHOWN = r"\x1b]0;title\x07\x1b[2J\u009b31m\rover\u007f\u202e\u2028"
COLOURS = re.compile(r"\x1b\[[\d;]*m")
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]")


class Terminal:
    """The command on a terminal, as a person sees what it prints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "here"
        self.folder.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("BERTJOB_SITE", "NO_COLOR")},
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "TERM": "xterm-256color",
            "COLUMNS": "300",
            "PYTHONUTF8": "1",
        }

    def __call__(self, *words: str) -> str:
        """What arrives at the terminal, from stdout and stderr; without the \r that it puts before each newline."""
        leader, follower = pty.openpty()
        with subprocess.Popen(
            [BERTJOB, *words], stdin=follower, stdout=follower, stderr=follower, cwd=self.folder, env=self.environment
        ) as process:
            os.close(follower)
            said = b""
            while True:
                try:
                    piece = os.read(leader, 1 << 16)
                except OSError:  # nobody has it open any more
                    break
                if not piece:
                    break
                said += piece
            process.wait()
        os.close(leader)
        return said.decode(errors="surrogateescape").replace("\r\n", "\n")

    def plain(self, *words: str) -> subprocess.CompletedProcess[str]:
        """The command in a pipe."""
        return subprocess.run([BERTJOB, *words], capture_output=True, text=True, cwd=self.folder, env=self.environment)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    found = Terminal(tmp_path)
    monkeypatch.chdir(found.folder)
    return found


def run_of_somebody(folder: Path) -> RunDir:
    """A run whose name, state and log are full of commands for a terminal."""
    run_dir = RunDir(folder / "runs" / f"evil{EVIL}")
    run_dir.logs.mkdir(parents=True)
    run_dir.job.write_text(dump(load_job("squad-demo").value))
    run_dir.site.write_text(dump(load_site("local").value))
    catalog.record(run_dir, job_id="local", site="local", scheduler="none")
    run_dir.log("local").write_text(f"bertjob: a \x1b[31mred\x1b[0m word {EVIL}\n\x1b[8mhidden\x1b[1;38;5;9mbold\n")
    state = RunState(phase="failed", time=time.time() + 1, error=f"it failed {EVIL}", warning=f"look {EVIL}")
    write_state(run_dir.state, state)
    return run_dir


VERBS_AND_WORDS = {
    "run": ["run", f"no{EVIL}"],
    "submit": ["submit", "squad", "--set", f"name=x{EVIL}", "--dry-run"],
    "script": ["script", "squad-demo", "--set", f"description=d{EVIL}"],
    "shell": ["shell", "squad-demo", "--dry-run", "--site", "local", "--set", f"env.A=d{EVIL}"],
    "estimate": ["estimate", f"no{EVIL}"],
    "status": ["status"],
    "logs": ["logs", "evil"],
    "wait": ["wait", "evil"],
    "cancel": ["cancel", "evil"],
    "clean": ["clean", "--dry-run", "evil"],
    "ask": ["ask", f"no{EVIL}"],
    "eval": ["eval", "--data", f"no{EVIL}", "x"],
    "data": ["data", "info", f"no{EVIL}"],
    "doctor": ["doctor", "squad-demo", "--site", "local", "--set", f"data.train=/no{EVIL}"],
    "image": ["image", "check", "--engine", "apptainer", f"/no{EVIL}"],
    "jobs": ["jobs", "squad-demo", "--set", f"description=d{EVIL}"],
    "sites": ["sites", f"./site{EVIL}.yaml"],
    "lint": ["lint", f"no{EVIL}.sbatch"],
    "port": ["port", f"job{EVIL}.sbatch", "--to", "podman"],
    "schema": ["schema", f"no{EVIL}"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_hands_on_a_command_of_the_terminal(terminal: Terminal, verb: str) -> None:
    run_of_somebody(terminal.folder)
    Path(f"site{EVIL}.yaml").write_text(f'name: x\ndescription: "{json.dumps("d" + EVIL)[1:-1]}"\nscheduler: none\n')
    Path(f"job{EVIL}.sbatch").write_text(f"#!/bin/bash\n# {EVIL}\nsarus run -t 'a{EVIL}' true\n")
    said = terminal(*VERBS_AND_WORDS[verb])
    assert "Traceback" not in said
    assert CONTROLS.findall(COLOURS.sub("", said)) == [], repr(said)
    assert r"\x1b]0;title" in said, repr(said)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["logs", "evil"], ["jobs"]])
def test_programs_read_what_is_there(terminal: Terminal, words: list[str]) -> None:
    """In a pipe, a log has its bytes and JSON is JSON; the rest is for people, wherever they read it."""
    run_dir = run_of_somebody(terminal.folder)
    log = run_dir.log("local").read_bytes()
    done = subprocess.run([BERTJOB, *words], capture_output=True, check=True, env=terminal.environment)
    if words[0] == "logs":
        assert done.stdout == log
    elif words[-1] == "--json":
        assert json.loads(done.stdout)[0]["name"] == f"evil{EVIL}"
    else:
        assert CONTROLS.search(done.stdout.decode()) is None
    assert CONTROLS.search(done.stderr.decode()) is None


def test_a_script_keeps_its_bytes_in_a_pipe(terminal: Terminal) -> None:
    words = ["script", "squad-demo", "--set", f"env.A=d{EVIL}"]
    done = subprocess.run([BERTJOB, *words], capture_output=True, check=True, env=terminal.environment)
    assert f"d{EVIL}" in done.stdout.decode()


def test_a_log_keeps_its_colours_on_a_terminal(terminal: Terminal) -> None:
    run_of_somebody(terminal.folder)
    said = terminal("logs", "evil")
    assert f"a \x1b[31mred\x1b[0m word {SHOWN}\n\\x1b[8mhidden\x1b[1;38;5;9mbold\n" in said
    assert "bold\n\x1b[0m" in said  # before what is said of the failure


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pieces_of_a_log_are_cut_anywhere(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    text = f"\x1b[31mred\r\n\x1b[38;2;1;2;3mx\x1b[0m\x1b[2J{EVIL}\x1b["
    monkeypatch.setattr(sys, "stdout", screen := Screen())
    shown = LogText()
    for start in range(0, len(text), size):
        shown.print(text[start : start + size])
    shown.end()
    assert screen.getvalue() == f"\x1b[31mred\n\x1b[38;2;1;2;3mx\x1b[0m\\x1b[2J{SHOWN}\\x1b[\x1b[0m"


def test_what_is_visible() -> None:
    assert visible(f"ä {EVIL}\t\n") == f"ä {SHOWN}\t\n"
    assert visible_line("a\n\tb") == r"a\n\tb"
    assert all(json.loads(f'"{visible(chr(code))}"') == chr(code) for code in (0x7F, 0x9B, 0x202E))


def lost(terminal: Terminal, words: list[str], streams: str) -> int:
    """The exit code of the command where some of its streams take nothing; they are named in bash's words, or `gone`:
    a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    redirected = streams.replace("gone", f">&{writing} 2>&{writing}")
    try:
        command = ["bash", "-c", f'exec "$@" {redirected}', "bash", BERTJOB, *words]
        return subprocess.run(
            command, env=terminal.environment, cwd=terminal.folder, pass_fds=[writing], timeout=300
        ).returncode
    finally:
        os.close(writing)


ONCE = (">&- 2>&-", "gone")
REST = (">&-", "2>&-", "<&- >&- 2>&-", "2> /dev/full", "> /dev/full 2>&-")


@pytest.mark.parametrize("streams", [*ONCE, *(pytest.param(some, marks=pytest.mark.faults) for some in REST)])
@pytest.mark.parametrize("verb", VERBS)
def test_streams_that_take_nothing_change_no_exit_code(terminal: Terminal, verb: str, streams: str) -> None:
    run_of_somebody(terminal.folder)
    Path(f"job{EVIL}.sbatch").write_text(f"#!/bin/bash\n# {EVIL}\nsarus run -t 'a{EVIL}' true\n")
    words = VERBS_AND_WORDS[verb]
    expected = terminal.plain(*words).returncode
    only_prints = "/dev/full" in streams.partition("2>")[0] and (verb not in ACTS or "--dry-run" in words)
    assert lost(terminal, words, streams) == (expected or 1 if only_prints else expected)


@pytest.mark.parametrize("streams", [*ONCE, "> /dev/full", *REST])
def test_streams_that_take_nothing_stop_no_work(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: str
) -> None:
    commands = Commands(tmp_path / "bin")
    commands.make("sbatch", "4711\n")
    for name in ("srun", "squeue", "sacct", "scancel", "sinfo", "scontrol"):
        commands.make(name)
    terminal.environment["PATH"] = f"{commands.folder}:{os.environ['PATH']}"
    for job in ("a", "b"):
        assert lost(terminal, ["submit", "smoke", "-N1", "--run-dir", job], streams) == 0
    assert [run.name for run in catalog.known()] == ["a", "b"]
    assert lost(terminal, ["cancel", "a", "--no-wait"], streams) == 0
    assert len(commands.calls("scancel")) == 1
    commands.make("sacct", "4711|FAILED|nid00001|1:0\n")
    assert lost(terminal, ["wait", "a"], streams) == 1
    assert lost(terminal, ["clean", "a", "--yes"], streams) == 0
    assert not (terminal.folder / "a").exists()


@pytest.mark.parametrize("streams", ONCE)
def test_a_job_here_runs_to_its_end_whoever_reads(terminal: Terminal, streams: str) -> None:
    assert lost(terminal, ["run", "smoke", "--run-dir", "run"], streams) == 0
    assert (terminal.folder / "run" / "proof.json").exists()


def test_a_full_disk_is_an_error_where_a_result_is_lost(terminal: Terminal) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{BERTJOB} script squad > /dev/full"], capture_output=True, text=True, env=terminal.environment
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "bertjob: stdout: what was printed is lost: the disk is full"


def test_no_file_of_ours_becomes_stdout(terminal: Terminal) -> None:
    run_of_somebody(terminal.folder)
    subprocess.run(["bash", "-c", f"{BERTJOB} status >&-"], env=terminal.environment, check=False, cwd=terminal.folder)
    names = catalog.known()
    assert [run.path for run in names] == [str(terminal.folder / "runs" / f"evil{EVIL}")]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["script", "squad", "--site", ""], "--site: expected the name or file of a site, got nothing"),
        (["doctor", "--site", " "], "--site: expected the name or file of a site, got nothing"),
        (["jobs", ""], "JOB: expected the name or file of a job, got nothing"),
        (["script", "squad", "-A", ""], "--account: expected a value, got nothing"),
        (["script", "squad", "--partition="], "--partition: expected a value, got nothing"),
        (["script", "smoke", "--set", "smoke:sed=3"], "--set smoke:sed=3: unknown key 'sed': did you mean 'seed'?"),
        (["script", "smoke", "--set", "smoke:seed"], "--set smoke:seed: write it as --set key.path=value"),
        (["script", "squad", "--set", "other:sed=3"], "--set other:sed=3: there is no job 'other' here, but squad"),
        (["script", "squad", "--set", "./c=d.yaml:seed=3"], "there is no job './c=d.yaml' here, but squad"),
    ],
)
def test_mistakes_name_the_option(terminal: Terminal, words: list[str], told: str) -> None:
    done = terminal.plain(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


@pytest.mark.parametrize("name", ["./a=b.yaml", "a=b.yaml", "./a:b.yaml", "./train.seed=1.yaml"])
def test_a_job_is_addressed_by_its_whole_path(terminal: Terminal, name: str) -> None:
    Path(name).write_text("base: squad-demo\nname: mine\n")
    for to in (name, "mine"):
        done = CliRunner().invoke(cli, ["jobs", name, "--json", "--set", f"{to}:seed=77", "--set", "env.X=a:b=c"])
        assert done.exit_code == 0, done.output
        shown = json.loads(done.stdout)
        assert shown["seed"]["value"] == 77
        assert shown["env"]["value"] == {"X": "a:b=c"}
