"""Ctrl-Z, TERM and HUP at a real terminal: the cursor comes back, the exit code is the signal's, the job goes on."""

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SHOW, HIDE = b"\x1b[?25h", b"\x1b[?25l"
SECONDS = 60.0


class Terminal:
    """bertjob at a terminal of its own, below a shell that continues it after Ctrl-Z and says how it ended."""

    def __init__(self, folder: Path, words: str) -> None:
        self.output = b""
        self.shell, self._terminal = pty.fork()
        if self.shell == 0:
            bertjob = Path(sys.executable).with_name("bertjob")
            stopped = 128 + signal.SIGTSTP
            again = f"if [ $code -eq {stopped} ]; then echo stopped; read -r; fg; code=$?; fi"
            job = f'{bertjob} {words}; code=$?; {again}; echo "ended $code"'
            environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TERM": "xterm"}
            os.chdir(folder)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup, under which tests may run, has it ignored
            os.execvpe("bash", ["bash", "-c", f"set -m; {job}"], environment)

    def read_until(self, text: bytes) -> None:
        """Read until it has printed this, and forget that."""
        deadline = time.monotonic() + SECONDS
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self._terminal], [], [], 0.2)[0]:
                self.output += os.read(self._terminal, 4096)
        self.output = self.output.partition(text)[2]

    def type(self, key: bytes) -> None:
        os.write(self._terminal, key)

    def send(self, number: signal.Signals) -> None:
        """Send bertjob a signal."""
        child = Path(f"/proc/{self.shell}/task/{self.shell}/children").read_text().split()[0]
        os.kill(int(child), number)

    def close(self) -> None:
        os.close(self._terminal)  # which hangs up on all of it
        os.waitpid(self.shell, 0)


def appears(path: Path) -> None:
    """Wait until a file is there."""
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"there is no {path}"
        time.sleep(0.05)


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Terminal]:
    """`status --watch`, once it has hidden the cursor."""
    terminal = Terminal(tmp_path, "status --watch")
    terminal.read_until(HIDE)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_cursor_comes_back_when_it_is_ended(watching: Terminal, number: signal.Signals) -> None:
    watching.send(number)
    watching.read_until(SHOW)
    watching.read_until(f"ended {128 + number}".encode())


def test_the_cursor_comes_back_when_it_is_stopped_and_it_can_be_continued(watching: Terminal) -> None:
    watching.read_until(b"heartbeat")
    watching.type(b"\x1a")
    watching.read_until(SHOW)
    watching.read_until(b"\r\nstopped")
    watching.type(b"\n")
    watching.read_until(b"heartbeat")
    watching.send(signal.SIGTERM)
    watching.read_until(b"ended 143")


def test_a_run_whose_front_is_stopped_goes_on_and_says_so(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, "run smoke --run-dir r")
    terminal.read_until(HIDE)
    appears(tmp_path / "r" / "submissions.jsonl")
    terminal.type(b"\x1a")
    terminal.read_until(b"the job goes on: fg shows it again")
    terminal.read_until(b"stopped")
    appears(tmp_path / "r" / "proof.json")
    terminal.type(b"\n")
    terminal.read_until(SHOW)
    terminal.read_until(b"ended 0")
    terminal.close()
