"""The command line, called as a user calls it."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_END_S = 120


@contextlib.contextmanager
def ended(started: "subprocess.Popen[Any]") -> Iterator[None]:
    """A process that gets TERM where the tests are interrupted, so that it ends what it has started itself."""
    try:
        yield
    except BaseException:
        started.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_END_S)
        started.kill()
        raise


class Face:
    """The command line as a user calls it.

    Attributes:
        folder: in which it is called.
        before: words before the command.
    """

    def __init__(self, folder: Path, before: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.before = before

    def command(self, *words: object) -> list[str]:
        """The words of ``bertjob WORDS``."""
        return [*self.before, str(Path(sys.executable).with_name("bertjob")), *map(str, words)]

    def __call__(self, *words: object, code: int = 0, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """Run ``bertjob WORDS`` and insist on its exit code."""
        command = self.command(*words)
        with (
            subprocess.Popen(
                command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as started,
            ended(started),
        ):
            said = started.communicate(timeout=timeout)
        done = subprocess.CompletedProcess(command, started.returncode, *said)
        assert done.returncode == code, f"{words} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def site(self, name: str, **keys: object) -> Path:
        """A site file: plain Slurm, changed by keys."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps({"name": name, "scheduler": "slurm", "launcher": "srun", **keys}))  # JSON is YAML
        return path

    def job(self, name: str = "squad", **sections: object) -> Path:
        """A job file that asks for four nodes without GPUs."""
        path = self.folder / f"{name}-job.yaml"
        resources = {"nodes": 4, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}
        train = {"global_batch": 8, "micro_batch": 1}
        small = {"model": {"init": "demo"}, "data": {"train": "demo"}, "resources": resources, "train": train}
        path.write_text(json.dumps({"name": name, **small, **sections}))
        return path
