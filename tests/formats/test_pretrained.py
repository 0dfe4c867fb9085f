"""What lies at model.init, by the names of its files; what the login node says of it."""

from pathlib import Path

import pytest

from bertjob.cluster.input_checks import check_inputs
from bertjob.config.job import Job, Model
from bertjob.errors import PreflightError
from bertjob.formats.pretrained import Pretrained, recognise
from bertjob.launch.input_paths import needs

HF = ("config.json", "model.safetensors")
JOB = Job(name="x")
STATES = "mp_rank_00_model_states.pt"
STEP = "checkpoints/step-000400"


def files(folder: Path, *names: str) -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("step-000400\n" if name.endswith("checkpoints/latest") else "tag\n" if name == "latest" else "")
    return folder


@pytest.mark.parametrize(
    ("names", "at", "found"),
    [
        (HF, "", ("hf", "", "model.safetensors")),
        ((*HF, "pytorch_model.bin"), "pytorch_model.bin", ("hf", "", "pytorch_model.bin")),
        (("config.json", "pytorch_model.bin"), "", ("hf", "", "pytorch_model.bin")),
        (
            ("job.yaml", "model/config.json", "model/model.safetensors"),
            "",
            ("bertjob", "model", "model/model.safetensors"),
        ),
        (
            ("job.yaml", "checkpoints/latest", f"{STEP}/model/config.json", f"{STEP}/model/model.safetensors"),
            "",
            ("bertjob", f"{STEP}/model", f"{STEP}/model/model.safetensors"),
        ),
        (("progress.json", *(f"model/{name}" for name in HF)), "", ("bertjob", "model", "model/model.safetensors")),
        (("b.ckpt.index", "b.ckpt.data-00000-of-00001"), "", ("tf", "", "b.ckpt")),
        (("b.ckpt.index", "b.ckpt.data-00000-of-00001"), "b.ckpt", ("tf", "", "b.ckpt")),
        (("b.ckpt.index", "b.ckpt.data-00000-of-00001"), "b.ckpt.data-00000-of-00001", ("tf", "", "b.ckpt")),
        (("training_state_checkpoint_162.tar",), "training_state_checkpoint_162.tar", ("deepspeed", "", "")),
        ((f"tag/{STATES}",), "", ("deepspeed", "tag", f"tag/{STATES}")),
        (("latest", f"tag/{STATES}", f"other/{STATES}"), "", ("deepspeed", "tag", f"tag/{STATES}")),
        (
            ("progress.json", *(f"model/{name}" for name in HF), f"backend/deepspeed/state/{STATES}"),
            "backend/deepspeed",
            ("deepspeed", "model", f"backend/deepspeed/state/{STATES}"),
        ),
    ],
)
def test_what_lies_there_is_found_by_its_names(tmp_path: Path, names: tuple[str, ...], at: str, found: tuple[str, ...]):
    files(tmp_path, *names)
    kind, folder, weights = found
    assert recognise(tmp_path / at) == Pretrained(kind, tmp_path / folder, tmp_path / (weights or at))


def test_what_the_job_says_decides_where_both_are_there(tmp_path: Path):
    files(tmp_path, *HF, "b.ckpt.index")
    assert [recognise(tmp_path, said).ckpt_type for said in (None, "tf", "hf")] == ["hf", "tf", "hf"]
    model = files(tmp_path / "run", "job.yaml", *(f"model/{name}" for name in HF)) / "model"
    assert [recognise(model, said).ckpt_type for said in ("hf", "bertjob")] == ["hf", "bertjob"]


@pytest.mark.parametrize(
    ("names", "said", "words"),
    [
        (
            (),
            None,
            "no model in Hugging Face layout; it should hold config.json, model.safetensors or pytorch_model.bin",
        ),
        (
            (),
            "tf",
            "no model in TensorFlow's layout; it should hold one bert_model.ckpt.index, its data and bert_config",
        ),
        (("a.ckpt.index", "b.ckpt.index"), "tf", "it should hold one bert_model.ckpt.index"),
        ((f"a/{STATES}", f"b/{STATES}"), "deepspeed", f"it should hold one {STATES}, or be such a file"),
        (("job.yaml",), "bertjob", "it should hold a finished run's or a checkpoint's model/"),
        (HF, "tf", "is in Hugging Face layout, and model.ckpt_type is tf: say hf"),
    ],
)
def test_the_login_node_says_what_is_missing(tmp_path: Path, names: tuple[str, ...], said: str | None, words: str):
    files(tmp_path, *names)
    with pytest.raises(PreflightError) as refusal:
        check_inputs({"model.init": str(tmp_path)}, Job(name="x", model=Model(ckpt_type=said)))
    assert str(refusal.value).startswith(f"model.init: {tmp_path}: ")
    assert words in str(refusal.value)


def test_a_checkpoint_that_is_no_single_file_is_there_all_the_same(tmp_path: Path):
    files(tmp_path, "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001")
    check_inputs({"model.init": str(tmp_path / "bert_model.ckpt")}, JOB)
    with pytest.raises(PreflightError, match="there is no such folder or file"):
        check_inputs({"model.init": str(tmp_path / "other.ckpt")}, JOB)


@pytest.mark.parametrize(
    ("init", "folder"),
    [
        ("/m/bert", "/m/bert"),
        ("/m/bert/bert_model.ckpt", "/m/bert"),
        ("/m/bert/bert_model.ckpt.index", "/m/bert"),
        ("/m/x/mp_rank_00_model_states.pt", "/m/x"),
        ("/m/training_state_checkpoint_162.tar", "/m"),
        ("/m/bert/model.safetensors", "/m/bert"),
    ],
)
def test_a_container_sees_the_folder_of_a_file(init: str, folder: str):
    (need,) = needs(Job(name="x", model=Model(init=init)))
    assert (need.path, need.folder) == (init, folder)


def test_of_several_data_sets_one_is_wanted_where_none_is_for_training(tmp_path: Path):
    files(tmp_path, "dataset_dict.json", "english/state.json", "german/state.json")
    with pytest.raises(PreflightError, match=r"\(english, german\), and none is train: say the folder of one"):
        check_inputs({"data.shards": str(tmp_path)}, JOB)
    check_inputs({"data.shards": str(tmp_path / "english")}, JOB)
    files(tmp_path, "train/state.json")
    check_inputs({"data.shards": str(tmp_path)}, JOB)
