"""bertjob on somebody's machine: jobs by `run`, or where the site has a scheduler, by `submit`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from string import ascii_lowercase, digits, punctuation
from typing import Any

from face import Face
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

STEPS = 30


class Centre:
    """A machine with one engine.

    Attributes:
        bertjob: the command line.
        keys: of the site.
        engine: its name.
    """

    def __init__(self, folder: Path, keys: dict[str, Any]) -> None:
        self.folder = folder
        self.bertjob = Face(folder)
        self.keys = keys
        self.engine: str = keys["engine"]

    @property
    def queues(self) -> bool:
        """Whether jobs go through a scheduler."""
        return self.keys["scheduler"] != "none"

    def site(self, **more: object) -> Path:
        """The site's file."""
        path = self.folder / "site.yaml"
        path.write_text(json.dumps({**self.keys, **more}))
        return path

    def training(self, folder: Path, steps: int = STEPS, **data: str) -> Path:
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
            "data": {"train": str(folder / "train.json"), **data},
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
        path.write_text(json.dumps(job))
        return path

    def finish(self, job: Path | str, run: RunDir, *words: object, code: int = 0, site: Path | None = None) -> str:
        """Run a job to its end and insist on the exit code; its log."""
        asked = (job, "--site", site or self.site(), "--gpus-per-node", 0, "--run-dir", run.path, *words)
        if self.queues:
            self.bertjob("submit", *asked, "--wait", code=code and 1, timeout=900)
        else:
            self.bertjob("run", *asked, code=code, timeout=900)
        return "".join(path.read_text() for path in sorted(run.logs.glob("*.out")))

    def interrupt_and_finish(self, job: Path, run: RunDir) -> None:
        """Signal a training in its midst, which stops with a checkpoint and 85, and have it go on to its end."""
        asked = [str(job), "--site", str(self.site()), "--run-dir", str(run.path)]
        if self.queues:
            job_id = self.bertjob("submit", *asked).stdout.split()[-1]
            until(lambda: _step(run) >= 3, seconds=600)
            subprocess.run(["scancel", "--batch", "--signal=USR1", job_id], check=True)
            self.bertjob("wait", job_id, timeout=900)
            return
        command = [str(Path(sys.executable).with_name("bertjob")), "run", *asked]
        with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as started:
            until(lambda: _step(run) >= 3 or started.poll() is not None, seconds=600)
            os.kill(started.pid, signal.SIGTERM)
            said = started.communicate(timeout=300)[0].decode()
        assert started.returncode == 85, said
        assert run.latest.exists()
        self.bertjob("run", *asked, timeout=900)

    def inside(self, *words: str, code: int = 0, site: Path | None = None) -> list[str]:
        """What a command in the container prints."""
        asked = ("--site", site or self.site(), "--gpus-per-node", 0)
        return self.bertjob("shell", *asked, "--", *words, code=code).stdout.splitlines()


def _article() -> dict[str, object]:
    def paragraph(number: int) -> dict[str, object]:
        answer = {"text": f"box {number}", "answer_start": 7}
        question = {"id": f"q{number}", "question": f"Where is {number}?", "answers": [answer]}
        return {"context": f"It is, box {number} holds it.", "qas": [question]}

    return {"title": "boxes", "paragraphs": [paragraph(number) for number in range(8)]}


def _step(run: RunDir) -> int:
    state = read_state(run.state)
    return state.step if state is not None else 0
