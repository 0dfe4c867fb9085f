"""The formats of pretrained weights: what lies at ``model.init``, and where config, vocabulary and weights are in it.

bertjob    the folder of a run, or of one of its checkpoints: its model/ is in Hugging Face layout
hf         a folder with config.json and model.safetensors or pytorch_model.bin, or one of these files
tf         Google's files: bert_model.ckpt.index, bert_model.ckpt.data-…, and bert_config.json beside them
deepspeed  a file of torch with a state dict (mp_rank_00_model_states.pt, training_state_checkpoint_162.tar), or a
           folder that DeepSpeed's engine has written, with `latest` or one tag in it

Formats are recognised by the names of files alone, in plain Python; the ranks read the weights (train.model.formats).
"""

import posixpath
import shlex
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from bertjob.config import bounded
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
PARTS: Final = "zero_pp_rank_0_mp_rank_00_model_states.pt"
"""What it calls those of a model that ZeRO 3 has cut into parts."""


class Parts(NamedTuple):
    """Where the parts of a pretrained model are.

    Attributes:
        folder: where its config and its vocabulary are.
        weights: their file; for TensorFlow's, what the names of the files begin with.
    """

    folder: Path
    weights: Path


class Pretrained(NamedTuple):
    """A pretrained model, and the name of its format: the parts of `Parts`, recognised."""

    ckpt_type: str
    folder: Path
    weights: Path


class WeightsFormat(msgspec.Struct, frozen=True, kw_only=True):
    """One format of pretrained weights.

    Attributes:
        recognise: finds the parts of a model at a place, or None if there is none in this format.
        read: "module:function" that reads config and weights; see train.model.formats.
        layout: its name in messages.
        holds: what a folder in this format holds, for messages.
        config: file that has the network's sizes under transformers' names; None if the format has no such file.
        files: patterns of names by which a path is known to be a file, without looking.
    """

    recognise: Callable[[Path], Parts | None]
    read: str
    layout: str
    holds: str
    config: str | None
    files: tuple[str, ...]


def look(place: Path, said: CkptType | None = None) -> Pretrained:
    """Find the parts of the pretrained model at `place`.

    Args:
        place: a folder, a file, or what the names of TensorFlow's files begin with.
        said: the job's ``ckpt_type``.

    Raises:
        DataError: there is no model, or one in another format than the job says.
    """
    found = recognise(place, said)
    if isinstance(found, str):
        raise DataError(f"model.init {place}: {found}")
    return found


def recognise(place: Path, said: CkptType | None = None) -> Pretrained | str:
    """As `look`; what is wrong in place of an error."""
    found = {name: parts for name, row in FORMATS.items() if (parts := row.recognise(place))}
    right = next((name for name in found if said in (None, name)), None)
    if right is not None:
        return Pretrained(right, *found[right])
    if found:
        other = next(iter(found))
        return f"is in {FORMATS[other].layout}, and model.ckpt_type is {said}: say {other}"
    if not place.exists():
        return "there is no such folder or file"
    row = FORMATS[said or HUB]
    return f"no model in {row.layout}; it should hold {row.holds}"


def how_to_download(name: str) -> str:
    """What to do for a model of the hub where a job cannot download it."""
    folder = shlex.quote(name.rpartition("/")[2])
    command = f"hf download {shlex.quote(name)} --local-dir {folder}"
    return f"where there is internet `{command}`, then --set model.init=./{folder}"


def folder_of(path: str) -> str:
    """The folder of a path that a job names, judged by its name: itself, or the one that a file is in."""
    name = posixpath.basename(path)
    is_file = any(fnmatchcase(name, pattern) for row in FORMATS.values() for pattern in row.files)
    return posixpath.dirname(path) if is_file else path


def config_names() -> tuple[str, ...]:
    """Names of files that have a network's sizes, in any format."""
    return tuple(dict.fromkeys(row.config for row in FORMATS.values() if row.config))


def _hugging_face(place: Path) -> Parts | None:
    if place.is_file():
        of_it = place.suffix == ".safetensors" or (place.name in WEIGHTS and (place.parent / CONFIG).is_file())
        return Parts(place.parent, place) if of_it else None
    file = next((place / name for name in WEIGHTS if (place / name).is_file()), None)
    return Parts(place, file) if file and (place / CONFIG).is_file() else None


def _bertjob(place: Path) -> Parts | None:
    run = RunDir(place)
    folder = run.model
    if run.job.is_file() and not folder.is_dir() and run.latest.is_file():
        folder = run.checkpoints / bounded.read_text(run.latest, bounded.SMALL).strip() / folder.name
    if place.name == folder.name:  # the folder itself is given, as run:NAME does
        run, folder = RunDir(place.parent), place
    is_it = run.job.is_file() or (run.path / "progress.json").is_file()
    return _hugging_face(folder) if is_it else None


def _tensorflow(place: Path) -> Parts | None:
    if place.is_dir():
        indices = sorted(place.glob(f"*{INDEX}"))
        return _tensorflow(indices[0]) if len(indices) == 1 else None
    name = place.name.removesuffix(INDEX)
    if ".data-" in name:
        name = name[: name.index(".data-")]
    prefix = place.with_name(name)
    return Parts(place.parent, prefix) if Path(f"{prefix}{INDEX}").is_file() else None


def _deepspeed(place: Path) -> Parts | None:
    if place.is_file():
        return Parts(_beside(place.parent), place)
    latest = place / "latest"
    folders = (
        [place / bounded.read_text(latest, bounded.SMALL).strip()] if latest.is_file() else [place, *_folders(place)]
    )
    files = [folder / name for folder in folders for name in (STATES, PARTS) if (folder / name).is_file()]
    return Parts(_beside(files[0].parent), files[0]) if len(files) == 1 else None


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _beside(folder: Path) -> Path:
    """Where config and vocabulary of DeepSpeed's files are: beside them, or where bertjob's checkpoint has them."""
    for above in folder.parents:
        if (above / "progress.json").is_file() and (above / "model" / CONFIG).is_file():
            return above / "model"
    return folder


FORMATS: Final[Mapping[str, WeightsFormat]] = {
    "bertjob": WeightsFormat(
        recognise=_bertjob,
        read="bertjob.train.model.formats.hugging_face:read",
        layout="bertjob's layout",
        holds="a finished run's or a checkpoint's model/",
        config=CONFIG,
        files=(),
    ),
    "hf": WeightsFormat(
        recognise=_hugging_face,
        read="bertjob.train.model.formats.hugging_face:read",
        layout="Hugging Face layout",
        holds=f"{CONFIG}, {' or '.join(WEIGHTS)}",
        config=CONFIG,
        files=("*.safetensors", "*.bin"),
    ),
    "tf": WeightsFormat(
        recognise=_tensorflow,
        read="bertjob.train.model.formats.tensorflow:read",
        layout="TensorFlow's layout",
        holds=f"one bert_model.ckpt{INDEX}, its data and {TF_CONFIG}",
        config=TF_CONFIG,
        files=("*.ckpt*",),
    ),
    "deepspeed": WeightsFormat(
        recognise=_deepspeed,
        read="bertjob.train.model.formats.bing_bert:read",
        layout="DeepSpeed's layout",
        holds=f"one {STATES}, or be such a file",
        config=None,
        files=("*.pt", "*.pth", "*.tar"),
    ),
}
"""By `model.ckpt_type`. If several recognise a place, the first one has it; the last takes any file."""
HUB: Final[CkptType] = "hf"
"""The format of models on the Hugging Face hub."""
