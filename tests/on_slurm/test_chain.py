"""A chain of jobs on a real Slurm: each starts from what the one before has trained, and falls with it."""

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from face import Face
from slurm.lab import Lab
from until import until

from bertjob.rundir.directory import RunDir
from bertjob.rundir.state import read_state

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
    sizes = {"init": "random", "layers": 2, "hidden": 32, "heads": 2}
    corpus = {"shards": shards(bertjob, squad / "vocab.txt")}
    first = bertjob.job("pretrain", task="pretrain", model=sizes, data=corpus, **common(2, 192))
    data = {"train": str(squad / "train.json"), "dev": str(squad / "dev.json")}
    second = bertjob.job("tune", model={"init": "bert-large-uncased"}, data=data, **common(2, 192))
    done = bertjob("submit", first, second, "--chain", "--wait")
    ids = done.stdout.split()
    assert len(ids) == 2
    rows = rows_of(bertjob, ids)
    assert [row["state"] for row in rows] == ["completed", "completed"]
    pretrained, tuned = (RunDir(Path(row["run_dir"])) for row in rows)
    assert json.loads(tuned.hparams.read_text())["job"]["model"]["init"] == str(pretrained.model)
    assert json.loads((pretrained.model / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    assert {"exact_match", "f1"} <= json.loads(tuned.evaluation.read_text()).keys()


def test_a_node_that_fails_half_way_delays_the_chain_and_changes_nothing(
    bertjob: Face, squad: Path, cluster: Lab
) -> None:
    """Both phases of pre-training, then questions, on two nodes; the second phase loses one of them."""
    corpus = {"shards": shards(bertjob, squad / "vocab.txt")}
    questions = {"train": str(squad / "train.json"), "dev": str(squad / "dev.json")}
    sizes = {"init": "random", "layers": 2, "hidden": 32, "heads": 2}
    long = {"checkpoint": {"every_steps": 10}, "pretraining": {"validation_samples": 40}}
    links = [
        bertjob.job("seq128", task="pretrain", model=sizes, data=corpus, **common(4, 64)),
        bertjob.job("seq512", task="pretrain", model={"init": "run:seq128"}, data=corpus, **common(100, 128), **long),
        bertjob.job("questions", model={"init": "run:seq512"}, data=questions, **common(2, 192)),
    ]
    ids = bertjob("submit", *links, "--chain").stdout.split()
    first, second, third = (RunDir(Path(row["run_dir"])) for row in rows_of(bertjob, ids))
    until(lambda: (state := read_state(second.state)) is not None and state.step >= 12)
    assert [row["state"] for row in rows_of(bertjob, ids)] == ["completed", "running", "pending"]
    lost = max(node for node in cluster.nodes if cluster.shape.host(node) in second.log(ids[1], 1).read_text())
    cluster.crash(lost)
    try:
        alone = {"nodes": 1, "tasks_per_node": 1, "gpus_per_node": 0}  # losses do not depend on the number of ranks
        weights = {"init": str(first.model)}
        job = bertjob.job("alone", task="pretrain", model=weights, data=corpus, **common(100, 128, alone), **long)
        bertjob("run", job, "--run-dir", "alone", timeout=300)
        bertjob("wait", *ids, timeout=300)
    finally:
        cluster.boot(lost)
    assert [row["state"] for row in rows_of(bertjob, ids)] == ["completed"] * 3
    assert second.log(ids[1]).read_text().count("rank 0 of 2") == 2  # it was requeued
    for run, before in ((second, first), (third, second)):
        assert json.loads(run.hparams.read_text())["job"]["model"]["init"] == str(before.model)
    found, expected = (losses(run) for run in (second, RunDir(bertjob.folder / "alone")))
    assert list(found) == list(range(1, 101))
    assert found == pytest.approx(expected, rel=1e-5)


TWO_NODES = {"nodes": 2, "tasks_per_node": 1, "gpus_per_node": 0, "time": "10"}


def common(steps: int, length: int, resources: Mapping[str, object] = TWO_NODES) -> dict[str, object]:
    """Sections that the jobs share."""
    train = {"global_batch": 4, "micro_batch": 2, "max_steps": steps, "max_seq_length": length, "log_every": 1}
    return {"precision": "fp32", "train": train, "resources": resources}


def rows_of(bertjob: Face, ids: list[str]) -> list[dict[str, str]]:
    """What `status` says of jobs, in the order of `ids`."""
    rows = {row["job_id"]: row for row in json.loads(bertjob("status", "--json", *ids).stdout)}
    return [rows[job] for job in ids]


def losses(run: RunDir) -> dict[int, float]:
    """The loss of each step."""
    lines = map(json.loads, run.metrics.read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def test_a_link_that_fails_cancels_the_rest(bertjob: Face) -> None:
    site = bertjob.site("bad", python="/bin/false")
    jobs = [bertjob.job(name) for name in ("one", "two", "three")]
    done = bertjob("submit", *jobs, "--chain", "--site", site, "--wait", code=1, timeout=120)
    rows = json.loads(bertjob("status", "--json", *done.stdout.split()).stdout)
    assert [row["state"] for row in rows] == ["failed", "cancelled", "cancelled"]
    first = f"job {rows[0]['job_id']} ({Path(rows[0]['run_dir']).name}) before it failed"
    assert all(row["reason"].startswith(first) for row in rows[1:])
    assert sum(f"cancelled: {first}" in line for line in done.stderr.splitlines()) == 2


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
