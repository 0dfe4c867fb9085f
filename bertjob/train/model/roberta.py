"""RoBERTa, and BERT with LayerNorm before attention and feed-forward (pre-LN), with the heads of the tasks.

transformers' RobertaPreLayerNorm computes what bing_bert's pre-LN BERT computes: LayerNorm after the embeddings, before
attention, before the feed-forward, and once more at the end (Xiong et al., arXiv 2002.04745). So a pre-LN BERT is one
of these with two segments, and no copy of the model is needed.

A batch counts positions from 0; these count from the padding's id + 1, as fairseq did, which they add themselves.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaPreLayerNormForMaskedLM,
    RobertaPreLayerNormForQuestionAnswering,
    RobertaPreLayerNormModel,
)


def inputs_of(config: Any, position_ids: Tensor, token_type_ids: Tensor) -> dict[str, Tensor]:
    """What RoBERTa reads of a batch's positions (from 0) and segments (0 and 1), where it knows but one of these."""
    segments = token_type_ids if config.type_vocab_size > 1 else torch.zeros_like(token_type_ids)
    return {"position_ids": position_ids + config.pad_token_id + 1, "token_type_ids": segments}


class RobertaSpans(RobertaForQuestionAnswering):  # type: ignore[no-untyped-call]
    """RoBERTa with a head for answer spans."""

    stock: ClassVar[type[nn.Module]] = RobertaForQuestionAnswering
    """The class that a saved model names."""

    def forward(self, position_ids: Tensor, token_type_ids: Tensor, **inputs: Any) -> Any:
        """Transformers' own output, of a batch's tensors."""
        return super().forward(**inputs_of(self.config, position_ids, token_type_ids), **inputs)


class PreNormSpans(RobertaPreLayerNormForQuestionAnswering):  # type: ignore[no-untyped-call]
    """Pre-LN BERT with a head for answer spans."""

    stock: ClassVar[type[nn.Module]] = RobertaPreLayerNormForQuestionAnswering
    """The class that a saved model names."""

    def forward(self, position_ids: Tensor, token_type_ids: Tensor, **inputs: Any) -> Any:
        """Transformers' own output, of a batch's tensors."""
        return super().forward(**inputs_of(self.config, position_ids, token_type_ids), **inputs)


class RobertaMaskedLM(RobertaForMaskedLM):  # type: ignore[no-untyped-call]
    """RoBERTa with a head for masked tokens."""

    stock: ClassVar[type[nn.Module]] = RobertaForMaskedLM
    """The class that a saved model names."""

    def forward(self, masked: Tensor, position_ids: Tensor, token_type_ids: Tensor, **inputs: Any) -> Tensor:
        """Scores of the vocabulary at masked tokens: ``[M, V]``; as heads.MaskedLM's."""
        hidden = _hidden(self, position_ids, token_type_ids, inputs)
        scores: Tensor = self.lm_head(hidden.index_select(0, masked))
        return scores


class PreNormMaskedLM(RobertaPreLayerNormForMaskedLM):  # type: ignore[no-untyped-call]
    """Pre-LN BERT with a head for masked tokens."""

    stock: ClassVar[type[nn.Module]] = RobertaPreLayerNormForMaskedLM
    """The class that a saved model names."""

    def forward(self, masked: Tensor, position_ids: Tensor, token_type_ids: Tensor, **inputs: Any) -> Tensor:
        """Scores of the vocabulary at masked tokens: ``[M, V]``; as heads.MaskedLM's."""
        hidden = _hidden(self, position_ids, token_type_ids, inputs)
        scores: Tensor = self.lm_head(hidden.index_select(0, masked))
        return scores


class PreNormMaskedLMAndNextSentence(RobertaPreLayerNormForMaskedLM):  # type: ignore[no-untyped-call]
    """Pre-LN BERT with heads for masked tokens and for the next sentence.

    transformers has no class with both; what the stock one has no place for is saved in a file of its own.
    """

    stock: ClassVar[type[nn.Module]] = RobertaPreLayerNormForMaskedLM
    """The class that a saved model names."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.roberta_prelayernorm = RobertaPreLayerNormModel(config)  # with its pooler
        self.seq_relationship = nn.Linear(config.hidden_size, 2)
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(
        self, masked: Tensor, firsts: Tensor, position_ids: Tensor, token_type_ids: Tensor, **inputs: Any
    ) -> tuple[Tensor, Tensor]:
        """Scores ``[M, V]`` and answers ``[B, 2]``; as heads.MaskedLMAndNextSentence's."""
        hidden = _hidden(self, position_ids, token_type_ids, inputs)
        pooler: Any = self.roberta_prelayernorm.pooler
        pooled = pooler(hidden.index_select(0, firsts)[:, None])
        return self.lm_head(hidden.index_select(0, masked)), self.seq_relationship(pooled)


def _hidden(network: Any, position_ids: Tensor, token_type_ids: Tensor, inputs: dict[str, Any]) -> Tensor:
    """What leaves the last layer: ``[B L, h]``, or ``[T, h]`` of a packed row."""
    output = network.base_model(**inputs_of(network.config, position_ids, token_type_ids), **inputs)
    hidden: Tensor = output.last_hidden_state.flatten(0, 1)
    return hidden
