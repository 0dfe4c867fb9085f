"""Whether a pretrained model is what the job says, and whether its weights are those of the network."""

import logging
from pathlib import Path
from typing import Any, Final

from transformers import PreTrainedModel

from bertjob.config.checks.kernel import dropout_advice, mismatch
from bertjob.config.job import Job
from bertjob.errors import DataError
from bertjob.train.model.formats import Found
from bertjob.train.model.locate import Words
from bertjob.train.model.networks import FAMILIES, kind_of, positions_of

_LOG = logging.getLogger(__name__)
_SPARE_IDS: Final = 128
"""Models pad their vocabulary to a multiple of up to this, for speed."""
_HEADS: Final = ("pooler.", "cls.", "lm_head.", "seq_relationship.", "classifier.", "qa_outputs.")
"""Beginnings of the names of weights that one task has and another one lacks."""
_SIZES: Final = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "ff": "intermediate_size",
}


def check(job: Job, found: Found, words: Words) -> None:
    """Refuse a pretrained model that is not what the job says, or does not fit its vocabulary or lengths.

    Raises:
        DataError: it is; names the key and both values.
    """
    config, place = found.config, found.place
    if wrong := mismatch(job.model.kernel, config, place):
        raise DataError(wrong)
    if advice := dropout_advice(job, config):
        _LOG.warning("%s", advice)
    norm = FAMILIES[config["model_type"]].norm
    has = {key: config.get(name) for key, name in _SIZES.items()} | {"kind": kind_of(config), "norm": norm}
    for key, value in has.items():
        said = getattr(job.model, key)
        if said is not None and said != value:
            right = "null" if value is None else f"{value} or null"
            raise DataError(f"model.{key} is {said}, but {place} has {value}: say --set model.{key}={right}")
    rows = config.get("vocab_size", 0)
    if not rows - _SPARE_IDS < words.size <= rows:
        vocabulary = f"the vocabulary {words.source} {words.size} tokens"
        raise DataError(f"{place} has {rows} word embeddings, {vocabulary}: not a pair")
    positions = positions_of(config)
    if job.train.max_seq_length > positions:
        raise DataError(f"train.max_seq_length is {job.train.max_seq_length}, but {place} has {positions} positions")


def report(place: Path, model: PreTrainedModel, loading: dict[str, Any]) -> None:
    """Name weights that are left over beyond the heads; refuse those that are missing there or do not fit.

    Raises:
        DataError: a file that holds no BERT or not all of it, or weights of other shapes than its config says.
    """
    untyped: Any = model
    family = FAMILIES[untyped.config.model_type]
    base = f"{family.prefix}."

    def beyond_heads(names: Any) -> list[str]:
        return sorted(name for name in names if not name.removeprefix(base).startswith(_HEADS))

    missing, spare = beyond_heads(loading["missing_keys"]), beyond_heads(loading["unexpected_keys"])
    if f"{base}embeddings.word_embeddings.weight" in missing:
        raise DataError(f"{place}: its weights are not those of a {family.label} ({_some(spare)})")
    shapes = {name: (tuple(there), tuple(here)) for name, there, here in loading["mismatched_keys"]}
    for name in beyond_heads(shapes):
        there, here = shapes[name]
        raise DataError(f"{place}: its {name} is {_by(there)}, where its config and the vocabulary make it {_by(here)}")
    if missing:
        lost = "; in the file, but not in the model: " + _some(spare) if spare else ""
        raise DataError(f"{place}: its weights are not all there: it lacks {_some(missing)}{lost}")
    if spare:
        _LOG.warning("%s: in the file, but not in the model: %s", place, _some(spare))


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
