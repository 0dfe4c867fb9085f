"""A model with its first weights: the same on every rank, float32, on the CPU."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import BertConfig, BertForQuestionAnswering, BertPreTrainedModel
from transformers.utils import logging as transformers_logging

from bertjob.errors import DataError, SpecError
from bertjob.spec.job import Job, Model
from bertjob.spec.kernel import dropout_advice, mark, mismatch
from bertjob.train.model import attention
from bertjob.train.model.source import model_folder, read_config, tokenizer_folder, vocabulary_size

_TALK: Any = transformers_logging  # its switches have no types
_LOG = logging.getLogger(__name__)
_SPARE_IDS = 128
"""Models pad their vocabulary to a multiple of up to this, for speed."""
_HEADS = ("bert.pooler.", "pooler.", "cls.", "classifier.", "qa_outputs.")
"""Beginnings of the names of weights that one task has and another one lacks."""
Network = TypeVar("Network", bound=BertPreTrainedModel)


def build(job: Job, network: type[Network]) -> Network:
    """The network that ``model.init`` says, with the heads of a task.

    New weights (all of them with ``random``, else those of heads that the file lacks) are drawn from ``seed``; torch's
    own generator is left as it was.

    Args:
        job: the job.
        network: transformers' class, or one of bertjob.train.model.pretraining.

    Raises:
        SpecError: sizes that make no BERT, or no vocabulary for ``random``.
        DataError: no model there, or one that does not fit the job or its vocabulary.
    """
    tokens = vocabulary_size(tokenizer_folder(job))
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(job.seed)
        if job.model.init == "random":
            model = network(_new_config(job, tokens))
        else:
            model = _pretrained(job, model_folder(job), tokens, network)
    if job.model.activation_checkpointing:
        untyped: Any = model
        untyped.gradient_checkpointing_enable({"use_reentrant": False})  # the other kind wants tensors, not segments
    return model


def build_question_answering(job: Job) -> BertForQuestionAnswering:
    """The network of a job with a head for answer spans; see `build`."""
    return build(job, BertForQuestionAnswering)


def _new_config(job: Job, tokens: int) -> BertConfig:
    model = job.model
    hidden = model.hidden or 768
    if model.heads is None and hidden % 64:
        raise SpecError(f"model.hidden {hidden} is no multiple of 64: say model.heads as well")
    heads = model.heads or hidden // 64
    if hidden % heads:
        raise SpecError(f"model.hidden {hidden} is no multiple of model.heads {heads}")
    config: Any = BertConfig(
        vocab_size=-(-tokens // model.pad_vocab) * model.pad_vocab,
        num_hidden_layers=model.layers or 12,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=model.ff or 4 * hidden,
        max_position_embeddings=max(512, job.train.max_seq_length),
        initializer_range=model.initializer_range,
        **_training(model),
    )
    config.bertjob = mark(model.kernel)
    return config  # type: ignore[no-any-return]


def _pretrained(job: Job, folder: Path, tokens: int, network: type[Network]) -> Network:
    _check(job, folder, tokens)
    # The file's own labels, of another task, give way to two: first and last token of a span.
    config: Any = BertConfig.from_pretrained(folder, num_labels=2, **_training(job.model))
    config.bertjob = mark(job.model.kernel)  # for those who go on from what is trained now
    loaded: Any
    try:
        loaded = network.from_pretrained(
            folder, config=config, dtype=torch.float32, attn_implementation=attention.NAME, output_loading_info=True
        )
    except Exception as error:  # of safetensors, pickle, zip, torch and transformers: a file that is not what it claims
        raise DataError(f"{folder}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error
    model: Network = loaded[0]
    _report(folder, loaded[1])
    return model


def _training(model: Model) -> dict[str, Any]:
    return {
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
        "attn_implementation": attention.NAME,
        **(
            {"hidden_act": "gelu_new"} if model.kernel.enabled else {}
        ),  # the approximation by tanh, as the kernel has it
    }


def _check(job: Job, folder: Path, tokens: int) -> None:
    """Refuse a pretrained model that is not what the job says, or does not fit its vocabulary or lengths."""
    config = read_config(folder)
    if wrong := mismatch(job.model.kernel, config, folder):
        raise DataError(wrong)
    if advice := dropout_advice(job, config):
        _LOG.warning("%s", advice)
    said = {
        "layers": (job.model.layers, "num_hidden_layers"),
        "hidden": (job.model.hidden, "hidden_size"),
        "heads": (job.model.heads, "num_attention_heads"),
        "ff": (job.model.ff, "intermediate_size"),
    }
    for key, (value, name) in said.items():
        if value is not None and value != config.get(name):
            raise DataError(f"model.{key} is {value}, but {folder} has {config.get(name)}: leave model.{key} out")
    rows = config.get("vocab_size", 0)
    if not rows - _SPARE_IDS < tokens <= rows:
        vocabulary = tokenizer_folder(job)
        raise DataError(
            f"{folder} has {rows} word embeddings, the vocabulary of {vocabulary} {tokens} tokens: not a pair"
        )
    positions = config.get("max_position_embeddings", 0)
    if job.train.max_seq_length > positions:
        raise DataError(f"train.max_seq_length is {job.train.max_seq_length}, but {folder} has {positions} positions")


def _report(folder: Path, loading: dict[str, Any]) -> None:
    """Name weights that are missing or left over beyond the heads; refuse a file that holds no BERT."""
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith(_HEADS))
    spare = sorted(name for name in loading["unexpected_keys"] if not name.startswith(_HEADS))
    if "bert.embeddings.word_embeddings.weight" in missing:
        raise DataError(f"{folder}: its weights are not those of a BERT ({_some(spare)})")
    if missing:
        _LOG.warning("%s: not in the file, so drawn at random: %s", folder, _some(missing))
    if spare:
        _LOG.warning("%s: in the file, but not in the model: %s", folder, _some(spare))


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading report and progress bar out of the log: `_report` says what matters in one line."""
    verbosity, bar = _TALK.get_verbosity(), _TALK.is_progress_bar_enabled()
    _TALK.set_verbosity(logging.CRITICAL)
    _TALK.disable_progress_bar()
    try:
        yield
    finally:
        _TALK.set_verbosity(verbosity)
        if bar:
            _TALK.enable_progress_bar()
