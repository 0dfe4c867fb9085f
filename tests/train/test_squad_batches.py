import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from bertjob.train.tasks.squad.batches import collate, packed, padded
from bertjob.train.tasks.squad.features import Features
from bertjob.train.tasks.squad.task import span_loss

SAMPLES = np.array([5, 0, 17, 5])


def test_a_packed_row_holds_the_samples_one_after_another(demo_features: Features) -> None:
    batch = packed(demo_features, SAMPLES)
    assert batch.packed
    assert batch.size == 4
    assert batch.input_ids.shape == batch.position_ids.shape == batch.token_type_ids.shape == (1, sum(batch.seqlens))
    begin = 0
    for sample, length in zip(SAMPLES, batch.seqlens, strict=True):
        row = slice(begin, begin + length)
        first = demo_features.offsets[sample]
        assert batch.input_ids[0, row].tolist() == demo_features.input_ids[first : first + length].tolist()
        assert batch.position_ids[0, row].tolist() == list(range(length))
        question = int(demo_features.query_length[sample]) + 2  # [CLS] and the first [SEP] are of the question
        assert batch.token_type_ids[0, row].tolist() == [0] * question + [1] * (length - question)
        begin += length
    assert batch.targets["start_positions"].tolist() == demo_features.start[SAMPLES].tolist()
    assert batch.targets["end_positions"].tolist() == demo_features.end[SAMPLES].tolist()
    assert {tensor.dtype for tensor in (batch.input_ids, *batch.targets.values())} == {torch.int64}


@pytest.mark.parametrize("length", [None, 96])
def test_a_padded_batch_has_the_same_tokens(length: int | None, demo_features: Features) -> None:
    row, rows = packed(demo_features, SAMPLES), padded(demo_features, SAMPLES, length)
    assert rows.attention_mask is not None
    mask = rows.attention_mask.bool()
    assert mask.shape == (4, length or max(rows.seqlens))
    assert mask.sum(1).tolist() == list(rows.seqlens) == list(row.seqlens)
    for name in ("input_ids", "token_type_ids", "position_ids"):
        assert torch.equal(getattr(rows, name)[mask], getattr(row, name)[0])
    assert not rows.input_ids[~mask].any()
    assert torch.equal(rows.position_ids[0], torch.arange(mask.shape[1]))


def test_the_jobs_batching_names_the_form(demo_features: Features) -> None:
    assert collate(demo_features, SAMPLES, "packed", 96).packed
    assert collate(demo_features, SAMPLES, "pools", 96).input_ids.shape[1] == demo_features.lengths[SAMPLES].max()
    assert collate(demo_features, SAMPLES, "padded", 96).input_ids.shape[1] == 96


def test_the_loss_is_the_mean_of_both_cross_entropies() -> None:
    start = torch.tensor([[0.0, 1.0, 2.0], [3.0, 1.0, -math.inf]], requires_grad=True)
    end = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.5, -math.inf]])
    targets = {"start_positions": torch.tensor([2, 0]), "end_positions": torch.tensor([1, 1])}
    by_hand = [
        math.log(1 + math.e + math.e**2) - 2,
        math.log(math.e**3 + math.e) - 3,
        math.log(3),
        math.log(1 + math.e**0.5) - 0.5,
    ]
    loss = span_loss(start, end, targets)
    assert loss.item() == pytest.approx(sum(by_hand) / 4)
    torch.autograd.backward(loss)
    assert start.grad is not None
    assert torch.isfinite(start.grad).all()
    assert start.grad[1, 2] == 0
    assert torch.allclose(start.grad[0], (functional.softmax(start[0], 0) - torch.tensor([0, 0, 1])) / 4)
