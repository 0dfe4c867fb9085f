"""Whole runs in tests: every rank is a process that runs bertjob.train's main.

Importing torch, transformers and DeepSpeed takes a process five seconds, so a server imports them once and forks the
ranks. The launcher's part, variables and a log of the job, is done here.
"""

import functools
import json
import multiprocessing
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import yaml

_SERVER = multiprocessing.get_context("forkserver")
_WORDS = ["the", "cat", "dog", "bird", "tree", "house", "river", "red", "old", "tall", "small", "saw", "found", "left"]
_MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "?", ".", "what", "did", "where"]
Fault = Callable[[int], None]
"""Called in each rank's process with the rank, before it starts."""


def squad(questions: int, seed: int) -> dict[str, Any]:
    """A small set in SQuAD's format: where a word stands in a row of words."""
    draw = random.Random(seed)
    paragraphs = []
    for number in range(questions):
        words = [draw.choice(_WORDS) for _ in range(draw.randint(5, 25))]
        place = draw.randrange(1, len(words))
        answer = {"text": words[place], "answer_start": len(" ".join(words[:place])) + 1}
        asked = {"id": f"q{seed}-{number}", "question": f"what did the {words[place - 1]} ?", "answers": [answer]}
        paragraphs.append({"context": " ".join(words), "qas": [asked]})
    return {"version": "1.1", "data": [{"title": "rows", "paragraphs": paragraphs}]}


def make_run(folder: Path, **changes: Any) -> Path:
    """A run directory with a job that trains a tiny BERT in a second; `changes` are dotted keys with `__` for dots."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder.parent / "data"
    if not data.exists():
        data.mkdir()
        (data / "vocab.txt").write_text("\n".join(_MARKS + sorted(_WORDS)) + "\n")
        (data / "train.json").write_text(json.dumps(squad(40, seed=1)))
        (data / "dev.json").write_text(json.dumps(squad(12, seed=2)))
    job: dict[str, Any] = {
        "name": "tiny",
        "precision": "fp32",
        "seed": 7,
        "model": {
            "init": "random",
            "vocab": str(data / "vocab.txt"),
            "layers": 2,
            "hidden": 32,
            "heads": 2,
            "ff": 64,
        },
        "data": {"train": str(data / "train.json"), "dev": str(data / "dev.json"), "cache": str(data / "cache")},
        "train": {
            "epochs": 9,
            "max_steps": 12,
            "global_batch": 8,
            "micro_batch": 2,
            "max_seq_length": 64,
            "max_query_length": 16,
            "log_every": 1,
        },
        "optimizer": {"lr": 1e-3},
        "checkpoint": {"every_steps": 4},
        "resources": {"gpus_per_node": 0},
    }
    for key, value in changes.items():
        *sections, last = key.split("__")
        at = job
        for section in sections:
            at = at.setdefault(section, {})
        at[last] = value
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    return folder


def start(
    run: Path, size: int = 1, env: Mapping[str, str] | None = None, fault: Fault | None = None
) -> list[BaseProcess]:
    """Start the ranks; what they print for the job's log goes to RUN/job.log."""
    port, secret = str(free_port()), make_secret(run)
    ranks = []
    for rank in range(size):
        world = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": size}
        variables = {
            **{key: str(value) for key, value in world.items()},
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": port,
            "BERTJOB_SECRET_FILE": str(secret),
        }
        ranks.append(start_rank(run, {**variables, "BERTJOB_WORLD_SIZE": str(size), **(env or {})}, fault))
    return ranks


def start_rank(run: Path, env: Mapping[str, str], fault: Fault | None = None) -> BaseProcess:
    """Start one rank with just these variables of a launcher."""
    _start_server()
    process = _SERVER.Process(target=_rank, args=(str(run), dict(env), fault), daemon=True)
    process.start()
    return process


def finish(ranks: Sequence[BaseProcess], seconds: float = 180) -> list[int | None]:
    """Wait for all ranks; their exit codes. Ranks that do not end are killed, and have None."""
    deadline = time.monotonic() + seconds
    codes = []
    for rank in ranks:
        rank.join(max(0.0, deadline - time.monotonic()))
        codes.append(rank.exitcode)
        if rank.exitcode is None:
            rank.kill()
            rank.join()
    return codes


def run_to_end(run: Path, size: int = 1, **options: Any) -> list[int | None]:
    """Start the ranks and wait for them; their exit codes."""
    return finish(start(run, size, **options))


def wait_for(condition: Callable[[], object], seconds: float = 180) -> None:
    """Wait until something has happened."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def lines(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    path = run / "metrics.jsonl"
    return (
        [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )


def losses(run: Path) -> list[tuple[int, float, float]]:
    """Step, loss and learning rate of the logged steps."""
    return [(line["step"], line["loss"], line["lr"]) for line in lines(run) if "loss" in line]


def state(run: Path) -> dict[str, Any]:
    """The content of state.json."""
    return json.loads((run / "state.json").read_text())


def job_log(run: Path) -> str:
    """What the ranks said in the job's log."""
    return (run / "job.log").read_text()


def make_secret(run: Path) -> Path:
    """A file with the secret of one start, as the job script makes it; beside the run, whose disk may be full."""
    handle, name = tempfile.mkstemp(prefix=".secret-", dir=run.parent)
    os.write(handle, os.urandom(32))
    os.close(handle)
    return Path(name)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@functools.cache
def _start_server() -> None:
    """Start the server with what it needs to find and to import run_ranks_imports, and wait until it has done so."""
    _SERVER.set_forkserver_preload(["run_ranks_imports"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("DS_ACCELERATOR", "cpu")
        patch.setenv("TORCH_CPP_LOG_LEVEL", "ERROR")
        forkserver.ensure_running()
    first = _SERVER.Process(target=int)
    first.start()
    first.join()


def _rank(run: str, env: dict[str, str], fault: Fault | None) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    os.environ.update(env)
    log = os.open(Path(run) / "job.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from bertjob.train.distributed.signals import StopSignals
    from bertjob.train.main import main

    signals = StopSignals()
    if fault is not None:
        fault(int(env.get("RANK", 0)))
    code = main(Path(run) / "job.yaml", signals)
    sys.stdout.flush()
    os._exit(code)
