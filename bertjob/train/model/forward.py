"""Forward passes of the tasks over packed and padded batches alike."""

import torch
from torch import Tensor, nn

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
