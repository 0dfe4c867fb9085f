"""What lies at ``model.init``: who wrote it, and where its config, its vocabulary and its weights are.

hf         a folder with config.json and model.safetensors or pytorch_model.bin, or one of these files
tf         Google's files: bert_model.ckpt.index, bert_model.ckpt.data-…, and bert_config.json beside them
deepspeed  a file of torch with a state dict (mp_rank_00_model_states.pt, training_state_checkpoint_162.tar), or a
           folder that DeepSpeed's engine has written, with `latest` or one tag in it
bertjob    the folder of a run, or of one of its checkpoints: its model/ is in Hugging Face layout
"""

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from bertjob.config.job import CkptType
from bertjob.errors import DataError
from bertjob.rundir.directory import RunDir

WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights' file in Hugging Face layout, the better first."""
FURTHER: Final = "further.safetensors"
"""Weights beside them for which transformers' class has no place, so that it finds none that it does not know."""
CONFIG: Final = "config.json"
TF_CONFIG: Final = "bert_config.json"
INDEX: Final = ".index"
"""Ends the name of the file that says where the tensors of a TensorFlow checkpoint are."""
STATES: Final = "mp_rank_00_model_states.pt"
"""What DeepSpeed's engine calls the weights of a model that is whole on each rank."""
_FILES: Final = (".safetensors", ".bin", ".pt", ".pth", ".tar")
PARTS: Final = "zero_pp_rank_0_mp_rank_00_model_states.pt"
"""What it calls those of a model that ZeRO 3 has cut into parts."""


class Pretrained(NamedTuple):
    """Where the parts of a pretrained model are.

    Attributes:
        ckpt_type: who wrote it.
        folder: where its config and its vocabulary are.
        weights: their file; for ``tf`` what the names of its files begin with.
    """

    ckpt_type: CkptType
    folder: Path
    weights: Path


def look(place: Path, said: CkptType | None = None) -> Pretrained:
    """Find out what lies at `place`, by the names of the files alone.

    Args:
        place: a folder, a file, or what the names of TensorFlow's files begin with.
        said: what the job says it is.

    Raises:
        DataError: nothing that can be read lies there, or not what the job says.
    """
    found = recognise(place, said)
    if isinstance(found, str):
        raise DataError(f"model.init {place}: {found}")
    return found


def recognise(place: Path, said: CkptType | None = None) -> Pretrained | str:
    """As `look`; what is wrong in place of an error."""
    found = [found for way in _WAYS if (found := way(place))]
    right = next((one for one in found if said in (None, one.ckpt_type)), None)
    if right is not None:
        return right
    if found:
        other = found[0].ckpt_type
        return f"is in {_NAMES[other]}, and model.ckpt_type is {said}: say {other}"
    if not place.exists():
        return "there is no such folder or file"
    kind = said or "hf"
    return f"no model in {_NAMES[kind]}; it should hold {_PARTS[kind]}"


def folder_of(path: str) -> str:
    """The folder of a path that a job names, by its looks alone: itself, or, of a file, the one that it is in."""
    name = posixpath.basename(path)
    return posixpath.dirname(path) if name.endswith(_FILES) or ".ckpt" in name else path


def _hugging_face(place: Path) -> Pretrained | None:
    if place.is_file():
        of_it = place.suffix == ".safetensors" or (place.name in WEIGHTS and (place.parent / CONFIG).is_file())
        return Pretrained("hf", place.parent, place) if of_it else None
    file = next((place / name for name in WEIGHTS if (place / name).is_file()), None)
    return Pretrained("hf", place, file) if file and (place / CONFIG).is_file() else None


def _bertjob(place: Path) -> Pretrained | None:
    run = RunDir(place)
    folder = run.model
    if run.job.is_file() and not folder.is_dir() and run.latest.is_file():
        folder = run.checkpoints / run.latest.read_text(encoding="utf-8").strip() / folder.name
    if place.name == folder.name:  # the folder itself is given, as run:NAME does
        run, folder = RunDir(place.parent), place
    is_it = run.job.is_file() or (run.path / "progress.json").is_file()
    model = _hugging_face(folder) if is_it else None
    return model and model._replace(ckpt_type="bertjob")


def _tensorflow(place: Path) -> Pretrained | None:
    if place.is_dir():
        indices = sorted(place.glob(f"*{INDEX}"))
        return _tensorflow(indices[0]) if len(indices) == 1 else None
    name = place.name.removesuffix(INDEX)
    if ".data-" in name:
        name = name[: name.index(".data-")]
    prefix = place.with_name(name)
    return Pretrained("tf", place.parent, prefix) if Path(f"{prefix}{INDEX}").is_file() else None


def _deepspeed(place: Path) -> Pretrained | None:
    if place.is_file():
        return Pretrained("deepspeed", _beside(place.parent), place)
    latest = place / "latest"
    folders = [place / latest.read_text(encoding="utf-8").strip()] if latest.is_file() else [place, *_folders(place)]
    files = [folder / name for folder in folders for name in (STATES, PARTS) if (folder / name).is_file()]
    return Pretrained("deepspeed", _beside(files[0].parent), files[0]) if len(files) == 1 else None


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _beside(folder: Path) -> Path:
    """Where config and vocabulary of DeepSpeed's files are: beside them, or where bertjob's checkpoint has them."""
    for above in folder.parents:
        if (above / "progress.json").is_file() and (above / "model" / CONFIG).is_file():
            return above / "model"
    return folder


_WAYS: Final = (_bertjob, _hugging_face, _tensorflow, _deepspeed)
_NAMES: Final[Mapping[CkptType, str]] = {
    "hf": "Hugging Face layout",
    "tf": "TensorFlow's layout",
    "deepspeed": "DeepSpeed's layout",
    "bertjob": "bertjob's layout",
}
_PARTS: Final[Mapping[CkptType, str]] = {
    "hf": f"{CONFIG}, {' or '.join(WEIGHTS)}",
    "tf": f"one bert_model.ckpt{INDEX}, its data and {TF_CONFIG}",
    "deepspeed": f"one {STATES}, or be such a file",
    "bertjob": "a finished run's or a checkpoint's model/",
}
