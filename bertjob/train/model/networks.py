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
    """One of transformers' model types.

    Attributes:
        label: its name in messages.
        config: its class of configs.
        networks: its classes with the heads of the tasks that it can train for.
        norm: where its LayerNorms stand.
        kinds: the values of `model.kind` that it can be; of several, BERT is the one with two segments.
        after_padding: whether positions count from the padding's id + 1, so that the rows before stay unused.
    """

    label: str
    config: Callable[..., PreTrainedConfig]
    networks: Mapping[Head, type[PreTrainedModel]]
    norm: Norm
    kinds: tuple[Kind, ...]
    after_padding: bool

    @property
    def prefix(self) -> str:
        """Begins the names of its weights, but for those of heads: ``bert``."""
        return str(self.networks["spans"].base_model_prefix)


FAMILIES: Final[Mapping[str, Family]] = {
    "bert": Family(
        label="BERT",
        config=BertConfig,
        networks={"spans": BertForQuestionAnswering, "masked": MaskedLM, "masked and next": MaskedLMAndNextSentence},
        norm="post",
        kinds=("bert",),
        after_padding=False,
    ),
    "roberta": Family(
        label="RoBERTa",
        config=RobertaConfig,
        networks={"spans": RobertaSpans, "masked": RobertaMaskedLM},
        norm="post",
        kinds=("roberta",),
        after_padding=True,
    ),
    "roberta-prelayernorm": Family(
        label="pre-LN BERT",
        config=RobertaPreLayerNormConfig,
        networks={"spans": PreNormSpans, "masked": PreNormMaskedLM, "masked and next": PreNormMaskedLMAndNextSentence},
        norm="pre",
        kinds=("bert", "roberta"),
        after_padding=True,
    ),
}
"""By the ``model_type`` of config.json."""


def kind_of(config: Mapping[str, Any]) -> Kind:
    """The kind of network that a config.json describes."""
    kinds = FAMILIES[config["model_type"]].kinds
    by_segments: Kind = "bert" if config.get("type_vocab_size", 2) > 1 else "roberta"
    return by_segments if by_segments in kinds else kinds[0]


def positions_of(config: Mapping[str, Any]) -> int:
    """Tokens of the longest sample that a network of this config.json takes."""
    unused = int(config["pad_token_id"]) + 1 if FAMILIES[config["model_type"]].after_padding else 0
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
    kind, norm = model.kind or "bert", model.norm or "post"
    family = next(row for row in FAMILIES.values() if kind in row.kinds and norm == row.norm)
    roberta = kind == "roberta"
    marks: dict[str, Any] = {}
    if family.after_padding:
        if words.pad is None:
            raise DataError(f"{words.source}: has no token [PAD] or <pad>, from which RoBERTa counts positions")
        marks = {"pad_token_id": words.pad, "bos_token_id": words.cls, "eos_token_id": words.sep}
    return family.config(
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
