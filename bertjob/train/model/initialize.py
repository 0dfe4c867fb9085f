"""A model with its first weights: the same on every rank, float32, on the CPU."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from bertjob.config.checks.kernel import mark
from bertjob.config.job import Job
from bertjob.errors import DataError
from bertjob.train.model import attention
from bertjob.train.model.formats import Found, find
from bertjob.train.model.locate import Words, pretrained, tokenizer_folder, words_of
from bertjob.train.model.networks import FAMILIES, Head, new_config, training
from bertjob.train.model.verify import check, report

_TALK: Any = transformers_logging  # its switches have no types


def build(job: Job, head: Head) -> PreTrainedModel:
    """The network that ``model.init`` says, with the head of a task.

    New weights (all of them with ``random``, else those of heads that the file lacks) are drawn from ``seed``; torch's
    own generator is left as it was.

    Args:
        job: the job.
        head: what the task asks.

    Raises:
        SpecError: sizes that make no network, or no vocabulary for ``random``.
        DataError: no model there, or one that does not fit the job or its vocabulary.
    """
    words = words_of(tokenizer_folder(job))
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(job.seed)
        model = _new(job, words, head) if job.model.init == "random" else _trained(job, words, head)
    if job.model.activation_checkpointing:
        untyped: Any = model
        untyped.gradient_checkpointing_enable({"use_reentrant": False})  # the other kind wants tensors, not segments
    return model


def build_question_answering(job: Job) -> PreTrainedModel:
    """The network of a job with a head for answer spans; see `build`."""
    return build(job, "spans")


def _new(job: Job, words: Words, head: Head) -> PreTrainedModel:
    config: Any = new_config(job, words)
    config.bertjob = mark(job.model.kernel)
    return _class(config.model_type, head, "model.kind roberta")(config)


def _trained(job: Job, words: Words, head: Head) -> PreTrainedModel:
    found = find(pretrained(job), job.model, words.pad)
    network = _class(found.config["model_type"], head, str(found.place))
    # The file's own labels, of another task, give way to two: first and last token of a span.
    family: Any = FAMILIES[found.config["model_type"]]
    try:
        config = family.config.from_dict(dict(found.config), num_labels=2, **training(job.model))
    except Exception as error:  # of transformers and the hub: they check types of values each in their own way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{found.place}: its config cannot be read ({reason})") from error
    check(job, found, words)
    config.bertjob = mark(job.model.kernel)  # for those who go on from what is trained now
    return _loaded(network, config, found)


def _loaded(network: Any, config: Any, found: Found) -> PreTrainedModel:
    weights = dict(found.weights())
    try:
        model, loading = network.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=torch.float32,
            attn_implementation=attention.NAME,
            ignore_mismatched_sizes=True,  # `report` names them
            output_loading_info=True,
        )
    except Exception as error:  # of torch and transformers: weights that are not what they claim
        raise DataError(f"{found.place}: its weights cannot be loaded ({str(error).splitlines()[0]})") from error
    report(found.place, model, loading)
    loaded: PreTrainedModel = model
    return loaded


def _class(model_type: str, head: Head, what: str) -> type[PreTrainedModel]:
    network = FAMILIES[model_type].networks.get(head)
    if network is None:
        raise DataError(f"{what}: RoBERTa has no segments, and so no next sentence: say task mlm, not pretrain")
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading report and progress bar out of the log: `report` says what matters in one line."""
    verbosity, bar = _TALK.get_verbosity(), _TALK.is_progress_bar_enabled()
    _TALK.set_verbosity(logging.CRITICAL)
    _TALK.disable_progress_bar()
    try:
        yield
    finally:
        _TALK.set_verbosity(verbosity)
        if bar:
            _TALK.enable_progress_bar()
