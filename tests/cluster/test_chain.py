"""A chain of jobs on a real Slurm: each starts from what the one before has trained, and falls with it."""

import json
import random
import subprocess
from pathlib import Path

import pytest
from face import Face

from bertjob.spec.layout import RunDir

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

WORDS = ["the", "red", "old", "tree", "stood", "near", "a", "river", "and", "nobody", "knew", "why"]


def shards(bertjob: Face, vocab: Path) -> str:
    """A small corpus, prepared by the command."""
    draw = random.Random(3)
    sentences = [" ".join(draw.choices(WORDS, k=8)) for _ in range(240)]
    documents = ["\n".join(sentences[first : first + 8]) for first in range(0, 240, 8)]
    (bertjob.folder / "text.txt").write_text("\n\n".join(documents) + "\n")
    bertjob("data", "prepare", "text.txt", "--out", "shards", "--vocab", vocab, "--validation", "0.3")
    return str(bertjob.folder / "shards")


def test_fine_tuning_begins_with_what_pre_training_has_made(bertjob: Face, squad: Path) -> None:
    train = {"global_batch": 4, "micro_batch": 2, "max_steps": 2, "max_seq_length": 192, "log_every": 1}
    resources = {"nodes": 2, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}
    common = {"precision": "fp32", "train": train, "resources": resources}
    sizes = {"init": "random", "layers": 2, "hidden": 32, "heads": 2}
    first = bertjob.job(
        "pretrain", task="pretrain", model=sizes, data={"shards": shards(bertjob, squad / "vocab.txt")}, **common
    )
    data = {"train": str(squad / "train.json"), "dev": str(squad / "dev.json")}
    second = bertjob.job("tune", model={"init": "bert-large-uncased"}, data=data, **common)
    done = bertjob("submit", first, second, "--chain", "--wait")
    ids = done.stdout.split()
    assert len(ids) == 2
    rows = {row["job_id"]: row for row in json.loads(bertjob("status", "--json", *ids).stdout)}
    assert [rows[job]["state"] for job in ids] == ["completed", "completed"]
    pretrained, tuned = (RunDir(Path(rows[job]["run_dir"])) for job in ids)
    assert json.loads(tuned.hparams.read_text())["job"]["model"]["init"] == str(pretrained.model)
    assert json.loads((pretrained.model / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert {"exact_match", "f1"} <= json.loads(tuned.evaluation.read_text()).keys()


def test_a_link_that_fails_cancels_the_rest(bertjob: Face) -> None:
    site = bertjob.site("bad", python="/bin/false")
    jobs = [bertjob.job(name) for name in ("one", "two", "three")]
    done = bertjob("submit", *jobs, "--chain", "--site", site, "--wait", code=1, timeout=120)
    rows = json.loads(bertjob("status", "--json", *done.stdout.split()).stdout)
    assert [row["state"] for row in rows] == ["failed", "cancelled", "cancelled"]
    assert rows[1]["reason"].startswith("Dependency")


def test_a_link_that_the_scheduler_refuses_cancels_those_before_it(bertjob: Face, tmp_path: Path) -> None:
    site = bertjob.site("good", python="/bin/true")
    resources = {"nodes": 4, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}
    good = bertjob.job("good-one", resources=resources)
    bad = bertjob.job("bad-one", resources={**resources, "partition": "nope"})
    refused = bertjob("submit", good, bad, "--chain", "--site", site, code=4)
    assert "invalid partition" in refused.stderr.splitlines()[-1]
    queued = subprocess.run(["squeue", "--noheader", "--states=PD,R"], check=True, capture_output=True, text=True)
    assert queued.stdout.strip() == ""
    assert not list((tmp_path / "runs").glob("bad-one-*"))
