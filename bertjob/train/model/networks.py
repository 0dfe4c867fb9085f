"""Which network a model is: its kind and norm, in transformers' words, and its classes with the heads of the tasks."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaConfig,
    RobertaPreLayerNormConfig,
)

from bertjob.config.job import Job, Kind, Model, Norm
from bertjob.errors import DataError, SpecError
from bertjob.train.model import attention
from bertjob.train.model.heads import MaskedLM, MaskedLMAndNextSentence
from bertjob.train.model.kernel.weights import NORMS
from bertjob.train.model.locate import Words
from bertjob.train.model.roberta import (
    PreNormMaskedLM,
    PreNormMaskedLMAndNextSentence,
    PreNormSpans,
    RobertaMaskedLM,
    RobertaSpans,
)

KERNEL_GELU: Final = "gelu_new"
"""The approximation by tanh, as DeepSpeed's transformer kernel computes it."""
Head = Literal["spans", "masked", "masked and next"]
"""What a task asks of a network: answer spans, masked tokens, or these and the next sentence."""


class Family(NamedTuple):
    """The classes of one of transformers' model types."""

    config: Callable[..., PreTrainedConfig]
    networks: Mapping[Head, type[PreTrainedModel]]


FAMILIES: Final[Mapping[str, Family]] = {
    "bert": Family(
        BertConfig,
        {"spans": BertForQuestionAnswering, "masked": MaskedLM, "masked and next": MaskedLMAndNextSentence},
    ),
    "roberta": Family(RobertaConfig, {"spans": RobertaSpans, "masked": RobertaMaskedLM}),
    "roberta-prelayernorm": Family(
        RobertaPreLayerNormConfig,
        {"spans": PreNormSpans, "masked": PreNormMaskedLM, "masked and next": PreNormMaskedLMAndNextSentence},
    ),
}
"""By the ``model_type`` of config.json."""


def kind_of(config: Mapping[str, Any]) -> Kind:
    """Whose network a config.json describes: a pre-LN one is BERT's where it has two segments."""
    pre_norm_bert = norm_of(config) == "pre" and config.get("type_vocab_size", 2) > 1
    return "bert" if config["model_type"] == "bert" or pre_norm_bert else "roberta"


def norm_of(config: Mapping[str, Any]) -> Norm:
    """Where its LayerNorms stand."""
    return NORMS.get(config["model_type"], "post")


def positions_of(config: Mapping[str, Any]) -> int:
    """Tokens of its longest sample; all but BERT leave the rows up to the padding's id unused."""
    unused = 0 if config["model_type"] == "bert" else int(config["pad_token_id"]) + 1
    return int(config["max_position_embeddings"]) - unused


def training(model: Model) -> dict[str, Any]:
    """What the job decides of any network, random or pretrained."""
    return {
        "hidden_dropout_prob": model.dropout,
        "attention_probs_dropout_prob": model.dropout,
        "attn_implementation": attention.NAME,
        **({"hidden_act": KERNEL_GELU} if model.kernel.enabled else {}),
    }


def new_config(job: Job, words: Words) -> PreTrainedConfig:
    """The config of a network with new weights.

    Args:
        job: says its sizes.
        words: its vocabulary.

    Raises:
        SpecError: sizes that make no network.
        DataError: a vocabulary that lacks the padding from which RoBERTa counts positions.
    """
    model = job.model
    hidden = model.hidden or 768
    if model.heads is None and hidden % 64:
        raise SpecError(f"model.hidden {hidden} is no multiple of 64: say model.heads as well")
    heads = model.heads or hidden // 64
    if hidden % heads:
        raise SpecError(f"model.hidden {hidden} is no multiple of model.heads {heads}")
    roberta = model.kind == "roberta"
    model_type = "roberta-prelayernorm" if model.norm == "pre" else "roberta" if roberta else "bert"
    marks: dict[str, Any] = {}
    if model_type != "bert":
        if words.pad is None:
            raise DataError(f"{words.source}: has no token [PAD] or <pad>, from which RoBERTa counts positions")
        marks = {"pad_token_id": words.pad, "bos_token_id": words.cls, "eos_token_id": words.sep}
    return FAMILIES[model_type].config(
        vocab_size=-(-words.size // model.pad_vocab) * model.pad_vocab,
        num_hidden_layers=model.layers or 12,
        hidden_size=hidden,
        num_attention_heads=heads,
        intermediate_size=model.ff or 4 * hidden,
        max_position_embeddings=max(512, job.train.max_seq_length) + (marks["pad_token_id"] + 1 if marks else 0),
        type_vocab_size=1 if roberta else 2,
        layer_norm_eps=1e-5 if roberta else 1e-12,  # as published
        initializer_range=model.initializer_range,
        **marks,
        **training(model),
    )
