"""bertjob on somebody's machine: jobs by `run`, or where the site has a scheduler, by `submit`."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, digits, punctuation
from typing import Any, Literal

import msgspec
from face import Face, ended
from until import until

from bertjob.launch.schedulers import SCHEDULERS
from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state
from bertjob.rundir.submissions import decode
from bertjob.rundir.world import LOCAL_ID

STEPS = 30
_PATIENCE_S = 3600
_QUEUE_S = 24 * 3600
"""A centre may be full; ^C cancels the jobs."""


@dataclass(frozen=True)
class User:
    """Who calls bertjob.

    Attributes:
        uid: number of the user.
        before: words before a command that the user runs; none for whoever runs the tests.
    """

    uid: int
    before: tuple[str, ...] = ()


class Centre:
    """A machine with one engine, and a user of it.

    Attributes:
        folder: the user's, in which bertjob is called.
        keys: of the site.
        user: who calls it.
        environment: variables that the user has set.
        engine: its name.
    """

    def __init__(self, folder: Path, keys: dict[str, Any], user: User, environment: dict[str, str]) -> None:
        self.folder = folder
        self.keys = keys
        self.user = user
        self.environment = environment
        self.engine: str = keys["engine"]

    @property
    def bertjob(self) -> Face:
        """The command line."""
        set_ = ("env", *(f"{name}={value}" for name, value in self.environment.items()))
        return Face(self.folder, (*self.user.before, *set_))

    @property
    def patience(self) -> float:
        """Seconds that a job may take."""
        return _QUEUE_S if self.queues else _PATIENCE_S

    @property
    def queues(self) -> bool:
        """Whether jobs go through a scheduler."""
        return self.keys["scheduler"] != "none"

    def site(self, **more: object) -> Path:
        """The site's file."""
        path = self.folder / "site.yaml"
        path.write_text(json.dumps({**self.keys, **more}))
        self._give([path])
        return path

    def training(self, folder: Path, steps: int = STEPS, **sections: object) -> Path:
        """A job of two ranks that train a very small BERT on eight questions."""
        folder.mkdir(parents=True, exist_ok=True)
        characters = [*ascii_lowercase, *digits, *punctuation]
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{one}" for one in characters)]
        (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
        (folder / "train.json").write_text(json.dumps({"version": "1.1", "data": [_article()]}))
        path = folder / "job.yaml"
        job = {
            "name": "acceptance",
            "task": "squad",
            "model": {"init": "random", "vocab": str(folder / "vocab.txt"), "layers": 1, "hidden": 32, "heads": 2},
            "data": {"train": str(folder / "train.json")},
            "precision": "fp32",
            "train": {
                "global_batch": 4,
                "micro_batch": 1,
                "max_steps": steps,
                "log_every": 1,
                "epochs": 1000,
            },
            "resources": {"nodes": 1, "tasks_per_node": 2, "gpus_per_node": 0, "time": "10"},
        }
        path.write_text(json.dumps(job | sections))
        own = [one for one in (folder, *folder.parents) if one.is_relative_to(self.folder)]
        self._give([*own, *folder.iterdir()])
        return path

    def finish(self, job: Path | str, run: RunDir, *words: object, code: int = 0, site: Path | None = None) -> str:
        """Run a job to its end and insist on the exit code; its log."""
        told = (job, "--site", site or self.site(), "--gpus-per-node", 0, "--run-dir", run.path, *words)
        if self.queues:
            self.bertjob("submit", *told, "--wait", code=code and 1, timeout=self.patience)
        else:
            self.bertjob("run", *told, code=code, timeout=self.patience)
        return self.log(run)

    def log(self, run: RunDir) -> str:
        """What a run has logged."""
        return "".join(path.read_text() for path in sorted(run.logs.glob("*.out")))

    def interrupt_and_finish(self, job: Path, run: RunDir, how: Literal["signal", "requeue"]) -> None:
        """Stop a training in its midst, which writes a checkpoint, and let it resume and end.

        Args:
            job: of `training`.
            run: of the job.
            how: `signal`: USR1, as before the time limit, or without a scheduler TERM, at which it ends with 85;
                `requeue`: by the scheduler.
        """
        told = (job, "--site", self.site(), "--gpus-per-node", 0, "--run-dir", run.path)
        if self.queues:
            job_id = self.bertjob("submit", *told).stdout.split()[-1]
            until(lambda: _step(run) >= 3, seconds=self.patience)
            stop = ("scancel", "--batch", "--signal=USR1") if how == "signal" else ("scontrol", "requeue")
            subprocess.run([*self.user.before, *stop, job_id], check=True)
            self.bertjob("wait", job_id, timeout=self.patience)
            return
        command = self.bertjob.command("run", *told)
        with (
            subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started,
            ended(started),
        ):
            until(lambda: _step(run) >= 3 or started.poll() is not None, seconds=self.patience)
            os.kill(started.pid, signal.SIGTERM)
            said = started.communicate(timeout=300)[0].decode()
        assert started.returncode == 85, said
        assert run.latest.exists()
        self.bertjob("run", *told, timeout=self.patience)

    def inside(self, *words: str, code: int = 0, site: Path | None = None) -> list[str]:
        """What a command in the container prints."""
        told = ("--site", site or self.site(), "--gpus-per-node", 0)
        return self.bertjob("shell", *told, "--", *words, code=code, timeout=self.patience).stdout.splitlines()

    def end(self) -> None:
        """Cancel what is still queued or runs, after a row that has failed or was interrupted."""
        cancel = SCHEDULERS[self.keys["scheduler"]].cancel_command
        for file in self.folder.rglob("submissions.jsonl"):
            for line in file.read_bytes().splitlines():
                with contextlib.suppress(msgspec.MsgspecError):
                    if cancel and (job_id := decode(line).job_id) != LOCAL_ID:
                        subprocess.run([*self.user.before, cancel, job_id], capture_output=True, check=False)

    def _give(self, paths: Iterable[Path]) -> None:
        """To the user, what the tests wrote."""
        for path in paths:
            os.chown(path, self.user.uid, -1)


def _article() -> dict[str, object]:
    def paragraph(number: int) -> dict[str, object]:
        answer = {"text": f"box {number}", "answer_start": 7}
        question = {"id": f"q{number}", "question": f"Where is {number}?", "answers": [answer]}
        return {"context": f"It is, box {number} holds it.", "qas": [question]}

    return {"title": "boxes", "paragraphs": [paragraph(number) for number in range(8)]}


def _step(run: RunDir) -> int:
    state = read_state(run.state)
    return state.step if state is not None else 0
