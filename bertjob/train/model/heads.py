"""BERT with the heads of its tasks; those of pre-training compute only at masked tokens.

transformers' own forward pass scores the whole vocabulary at every token; these score it at the masked tokens alone,
and pool the first token of each sample, also of those packed into one row. Weights and names are transformers' own.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import BertForMaskedLM, BertForPreTraining

from bertjob.train.data.batch import Batch
from bertjob.train.model.attention import Segments


def span_logits(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores of the tokens as first and as last of the answer.

    Args:
        model: question answering, built by model.init; bare or wrapped by a back end.
        batch: B samples, the longest of L tokens (padded: the batch's own width), on the model's device.

    Returns:
        start and end, each float32 ``[B, L]``, minus infinity where a sample has no token.
    """
    inputs = {
        "input_ids": batch.input_ids,
        "token_type_ids": batch.token_type_ids,
        "position_ids": batch.position_ids,
    }
    if batch.attention_mask is not None:
        output = model(**inputs, attention_mask=batch.attention_mask)
        padding = batch.attention_mask == 0
        start, end = output.start_logits.float(), output.end_logits.float()
        return start.masked_fill(padding, -torch.inf), end.masked_fill(padding, -torch.inf)
    segments = Segments.of(batch.seqlens, batch.position_ids[0])
    output = model(**inputs, segments=segments)
    start, end = output.start_logits[0].float(), output.end_logits[0].float()
    return segments.spread(start, -torch.inf), segments.spread(end, -torch.inf)


class MaskedLM(BertForMaskedLM):  # type: ignore[no-untyped-call]
    """BERT with a head for masked tokens."""

    stock: ClassVar[type[nn.Module]] = BertForMaskedLM
    """The class that a saved model names."""

    def forward(self, masked: Tensor, **inputs: Any) -> Tensor:
        """Scores of the vocabulary at masked tokens.

        Args:
            masked: int64 ``[M]``, places of the masked tokens in the flattened ``[B, L]`` or packed ``[1, T]``.
            inputs: what transformers' BERT reads.

        Returns:
            ``[M, V]``, in the precision of the forward pass.
        """
        hidden = self.bert(**inputs).last_hidden_state.flatten(0, 1)
        scores: Tensor = self.cls(hidden.index_select(0, masked))
        return scores


class MaskedLMAndNextSentence(BertForPreTraining):  # type: ignore[no-untyped-call]
    """BERT with heads for masked tokens and for the next sentence."""

    stock: ClassVar[type[nn.Module]] = BertForPreTraining
    """The class that a saved model names."""

    def forward(self, masked: Tensor, firsts: Tensor, **inputs: Any) -> tuple[Tensor, Tensor]:
        """Scores of the vocabulary at masked tokens, and of the two answers at the samples' first tokens.

        Args:
            masked: int64 ``[M]``, places of the masked tokens in the flattened ``[B, L]`` or packed ``[1, T]``.
            firsts: int64 ``[B]``, places of the first tokens, likewise.
            inputs: what transformers' BERT reads.

        Returns:
            ``[M, V]`` and ``[B, 2]``, in the precision of the forward pass.
        """
        hidden = self.bert(**inputs).last_hidden_state.flatten(0, 1)
        pooler: Any = self.bert.pooler
        pooled = pooler(hidden.index_select(0, firsts)[:, None])
        scores: Tensor = self.cls.predictions(hidden.index_select(0, masked))
        return scores, self.cls.seq_relationship(pooled)


def predictions(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Scores at the masked tokens, ``[M, V]``, and of the samples' pairs, ``[B, 2]``, where the batch has pairs.

    Args:
        model: one of this module's, bare or wrapped by a back end.
        batch: on the model's device, with the targets `mask_positions` (int64 ``[M]``, places as in the models'
            forward pass), `mask_labels` (int64 ``[M]``, the tokens there) and, with pairs, `next_sentence` (int64
            ``[B]``, 1 where the second part is a random one).
    """
    inputs: dict[str, Any] = {
        "input_ids": batch.input_ids,
        "token_type_ids": batch.token_type_ids,
        "position_ids": batch.position_ids,
    }
    if batch.attention_mask is None:
        inputs["segments"] = Segments.of(batch.seqlens, batch.position_ids[0])
    else:
        inputs["attention_mask"] = batch.attention_mask
    if "next_sentence" not in batch.targets:
        return model(masked=batch.targets["mask_positions"], **inputs), None
    scores, answers = model(masked=batch.targets["mask_positions"], firsts=firsts(batch), **inputs)
    return scores, answers


def losses(model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
    """Mean losses of a micro batch: of the masked `tokens`, and of the `pairs` of sentences where the batch has pairs.

    Devlin et al., arXiv 1810.04805, 3.1: the loss of pre-training is the sum of both.

    Args:
        model: as for `predictions`.
        batch: as for `predictions`.

    Returns:
        Scalars, float32; that of `tokens` is 0, with gradients of 0, where none is masked.
    """
    scores, answers = predictions(model, batch)
    labels = batch.targets["mask_labels"]
    found = {"tokens": functional.cross_entropy(scores.float(), labels, reduction="sum") / max(1, len(labels))}
    if answers is not None:
        found["pairs"] = functional.cross_entropy(answers.float(), batch.targets["next_sentence"])
    return found


def firsts(batch: Batch) -> Tensor:
    """Places of the samples' first tokens in the flattened rows: int64 ``[B]``."""
    device = batch.input_ids.device
    if batch.attention_mask is not None:
        return torch.arange(0, batch.input_ids.numel(), batch.input_ids.size(1), device=device)
    return torch.tensor([0, *batch.seqlens[:-1]], device=device).cumsum(0)
