"""The command line, called as a user calls it."""

import json
import subprocess
import sys
from pathlib import Path


class Face:
    """The command line as a user calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *words: object, code: int = 0, timeout: float = 300) -> "subprocess.CompletedProcess[str]":
        """Run ``bertjob WORDS`` and insist on its exit code."""
        done = subprocess.run(
            self.command(*words), cwd=self.folder, capture_output=True, text=True, timeout=timeout, check=False
        )
        assert done.returncode == code, f"{words} exited with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def command(self, *words: object) -> list[str]:
        """The words of ``bertjob WORDS``."""
        return [str(Path(sys.executable).with_name("bertjob")), *map(str, words)]

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
