"""What a job reads is checked before it is queued: data of another task, half a corpus, a model that is far away."""

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace
from planned import HERE, SLURM, SMALL

from bertjob.cluster.input_checks import check_inputs, hub_problem
from bertjob.config.job import Data, Job, Model, Task
from bertjob.config.site import Mount, Site
from bertjob.errors import PreflightError
from bertjob.formats.corpus_manifest import BEGUN, MANIFEST, Manifest, Part, Settings, Vocabulary, write_manifest
from bertjob.launch.plan import Plan, plan

RUN = "/scratch/runs/j"
V2 = {"question": "Who?", "id": "1", "answers": [], "is_impossible": True}
OTHERS = {
    "squad-v2.json": (json.dumps({"data": [{"paragraphs": [{"context": "A.", "qas": [V2]}]}]}), "this is SQuAD v2"),
    "table.csv": (
        "text,label\nfine,1\n",
        "not JSON: Expecting value at line 1 column 1; SQuAD v1.1 is one JSON object",
    ),
    "lines.jsonl": ('{"text": "a"}\n{"text": "b"}\n', "not JSON: Extra data"),
    "list.json": ("[]", 'must be an object with "data"'),
    "broken.json": ('{"data": [', "not JSON"),
    "empty.json": ('{"data": []}', "holds no questions"),
}
SHARDS: dict[Task, str] = {"pretrain": "data.shards", "mlm": "data.shards"}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("key", ["data.train", "data.dev"])
def test_data_that_the_task_cannot_read_is_refused_with_the_place(tmp_path: Path, name: str, key: str) -> None:
    file, (text, said) = tmp_path / name, OTHERS[name]
    file.write_text(text)
    with pytest.raises(PreflightError) as refused:
        check_inputs({key: str(file)}, Job(name="x", task="squad"))
    assert str(refused.value).startswith(f"{key}: {file}: ")
    assert str(refused.value).count(str(file)) == 1
    assert said in str(refused.value)


def corpus(folder: Path, train: int, validation: int) -> Path:
    parts = Part(train, train, train), Part(validation, validation, validation)
    settings = Settings("0" * 64, True, 0.1, 1000, ("a.txt",))
    folder.mkdir(exist_ok=True)
    write_manifest(folder, Manifest(1, settings, Vocabulary("0" * 64, 100, True, {}), *parts, (), ()))
    return folder


@pytest.mark.parametrize("task", SHARDS)
def test_a_corpus_without_validation_documents_is_refused(tmp_path: Path, task: Task) -> None:
    job = Job(name="x", task=task)
    check_inputs({"data.shards": str(corpus(tmp_path, 9, 1))}, job)
    remedy = "no documents for validation; prepare it with another --validation"
    with pytest.raises(PreflightError, match=f"^data.shards: {tmp_path}: {remedy}$"):
        check_inputs({"data.shards": str(corpus(tmp_path, 10, 0))}, job)


def test_a_corpus_that_is_not_complete_or_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / BEGUN).write_text("{}")
    with pytest.raises(PreflightError, match="not complete; run the same command again"):
        check_inputs({"data.shards": str(tmp_path)}, Job(name="x", task="mlm"))
    (tmp_path / MANIFEST).write_text('{"format": 1')
    with pytest.raises(PreflightError, match=r"manifest\.json: damaged"):
        check_inputs({"data.shards": str(tmp_path)}, Job(name="x", task="mlm"))


@pytest.mark.parametrize(
    ("name", "good"),
    [("notes.txt", False), ("part.hdf5", True), ("a.h5", True), ("data.npy", True), ("state.json", True)],
)
def test_a_folder_that_holds_no_samples_of_any_kind_is_refused(tmp_path: Path, name: str, good: bool) -> None:
    (tmp_path / name).touch()
    if good:
        check_inputs({"data.shards": str(tmp_path)}, Job(name="x", task="mlm"))
        return
    with pytest.raises(PreflightError, match=f"^data.shards: {tmp_path}: holds no samples of pre-training; make them"):
        check_inputs({"data.shards": str(tmp_path)}, Job(name="x", task="mlm"))


# A name on the hub


def planned(name: str = "bert-base-uncased", site: Site = SLURM) -> Plan:
    return plan(Job(name="j", **SMALL | {"model": Model(init=name), "data": Data(train="demo")}), site, RUN, HERE)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def cached(cache: Path, name: str = "models--bert-base-uncased") -> None:
    snapshot = cache / name / "snapshots" / "86b5e0934494bd15c9632b12f734a8a67f723594"
    snapshot.mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        (snapshot / file).touch()


def test_a_name_on_the_hub_is_a_problem_where_nodes_may_have_no_internet() -> None:
    problem = hub_problem(planned("google-bert/bert-base-uncased"))
    assert str(problem) == (
        "model.init: google-bert/bert-base-uncased: is a name on the Hugging Face hub and not in its cache here, and"
        " site slurm may have no internet on its nodes: where there is internet `hf download"
        " google-bert/bert-base-uncased --local-dir bert-base-uncased`, then --set model.init=./bert-base-uncased"
    )
    assert "slurm has no internet" in str(hub_problem(planned(site=replace(SLURM, internet=False))))
    assert hub_problem(planned(site=replace(SLURM, internet=True))) is None


@pytest.mark.parametrize("init", ["random", "demo", "/a/folder"])
def test_other_models_come_from_no_hub(init: str) -> None:
    job = Job(name="j", **SMALL | {"model": Model(init=init, vocab="/v.txt")})
    assert hub_problem(plan(job, SLURM, RUN, HERE)) is None


def test_what_is_in_the_hubs_cache_is_no_problem(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached(home / ".cache/huggingface/hub")
    assert hub_problem(planned()) is None
    monkeypatch.setenv("HF_HOME", str(home / "elsewhere"))
    assert hub_problem(planned()) is not None
    cached(home / "elsewhere/hub")
    assert hub_problem(planned()) is None
    own = replace(SLURM, env={"HF_HUB_CACHE": "$HOME/of/the/site"})
    assert hub_problem(planned(site=own)) is not None
    cached(home / "of/the/site")
    assert hub_problem(planned(site=own)) is None


def test_a_snapshot_without_weights_does_not_count(home: Path) -> None:
    cached(home / ".cache/huggingface/hub")
    for weights in home.rglob("model.safetensors"):
        weights.unlink()
    assert hub_problem(planned()) is not None


def test_a_container_must_see_the_cache(home: Path) -> None:
    cached(home / ".cache/huggingface/hub")
    inside = replace(SLURM, engine="podman", image=replace(SLURM.image, ref="localhost/bertjob:1"))
    assert hub_problem(planned(site=inside)) is not None
    assert hub_problem(planned(site=replace(inside, mounts=(Mount(source="$HOME"),)))) is None
    assert os.environ["HOME"] == str(home)
