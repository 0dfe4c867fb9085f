"""Attention over packed rows computes what stock attention computes over padded batches."""

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from bertjob.train.data.batch import Batch
from bertjob.train.model.attention import NAME, Segments, by_flash, by_padding, by_sample
from bertjob.train.model.heads import span_logits

LENGTHS = (17, 5, 30, 5)
WAYS = {"by_sample": by_sample, "by_padding": by_padding}


def bert(attention: str, dropout: float = 0.0) -> BertForQuestionAnswering:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation=attention,
    )
    return BertForQuestionAnswering(config).train()


def both_forms(lengths: tuple[int, ...] = LENGTHS) -> tuple[Batch, Batch]:
    """The same samples as one packed row, and padded to two tokens more than the longest."""
    draw = torch.Generator().manual_seed(2)
    samples = [torch.randint(1, 100, (length,), generator=draw) for length in lengths]
    width = max(lengths) + 2
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = sample
        mask[row, : len(sample)] = 1
    places = torch.arange(width).expand(len(lengths), -1)
    padded = Batch(ids, ids % 2 * mask, places, lengths, mask, {})
    row = torch.cat(samples)[None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return Batch(row, row % 2, positions, lengths, None, {}), padded


def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    start, end = span_logits(model, batch)
    targets = torch.tensor([length - 1 for length in batch.seqlens])
    return torch.nn.functional.cross_entropy(start, targets) + torch.nn.functional.cross_entropy(end, targets // 2)


def test_packed_rows_give_the_logits_of_stock_padded_batches():
    packed, padded = both_forms()
    stock = bert("sdpa")(
        input_ids=padded.input_ids, token_type_ids=padded.token_type_ids, attention_mask=padded.attention_mask
    )
    start, end = span_logits(bert(NAME), packed)
    tokens = padded.attention_mask[:, : max(LENGTHS)].bool()
    for ours, theirs in ((start, stock.start_logits), (end, stock.end_logits)):
        torch.testing.assert_close(ours[tokens], theirs[:, : max(LENGTHS)][tokens], atol=1e-5, rtol=1e-5)
        assert torch.isneginf(ours[~tokens]).all()


def test_packed_rows_give_the_gradients_of_stock_padded_batches():
    packed, padded = both_forms()
    ours, stock = bert(NAME), bert("sdpa")
    loss(ours, packed).backward()
    loss(stock, padded).backward()
    for (name, parameter), reference in zip(ours.named_parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad, atol=1e-5, rtol=1e-4, msg=name)


def test_padded_batches_take_the_stock_path_to_the_bit():
    _, padded = both_forms()
    ours, stock = span_logits(bert(NAME), padded), span_logits(bert("sdpa"), padded)
    assert torch.equal(ours[0], stock[0])
    assert torch.equal(ours[1], stock[1])


def test_padding_is_never_an_answer():
    _, padded = both_forms()
    start, end = span_logits(bert(NAME), padded)
    for logits in (start, end):
        assert torch.equal(torch.isneginf(logits), padded.attention_mask == 0)
        assert logits.dtype == torch.float32


def test_samples_of_a_row_do_not_see_each_other():
    packed, _ = both_forms()
    model = bert(NAME).eval()
    changed = packed.input_ids.clone()
    changed[0, : LENGTHS[0]] = 50
    other = Batch(changed, packed.token_type_ids, packed.position_ids, packed.seqlens, None, {})
    before, after = span_logits(model, packed)[0], span_logits(model, other)[0]
    torch.testing.assert_close(before[1:], after[1:], atol=1e-6, rtol=0)
    assert not torch.allclose(before[0, : LENGTHS[0]], after[0, : LENGTHS[0]], atol=1e-3)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_gives_the_numbers_of_the_formula(way):
    query, key, value, segments = row_of_heads()
    output = way(query, key, value, segments, 0.0, 0.25)
    first = 0
    for length in LENGTHS:
        part = slice(first, first + length)
        scores = query[:, :, part] @ key[:, :, part].transpose(-1, -2) * 0.25
        formula = (scores.softmax(-1) @ value[:, :, part]).transpose(1, 2)
        torch.testing.assert_close(output[:, part], formula, atol=1e-5, rtol=1e-5)
        first += length


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_dropout_keeps_the_mean(way):
    query, key, value, segments = row_of_heads()
    exact = way(query, key, value, segments, 0.0, 0.25)
    draws = torch.stack([way(query, key, value, segments, 0.3, 0.25) for _ in range(400)])
    assert not torch.allclose(draws[0], draws[1])
    assert (draws.mean(0) - exact).abs().max() < 6 * draws.std(0).max() / 400**0.5


def test_flash_attention_is_called_as_torch_declares_it():
    """Shapes, dtypes and the backward pass of the operator on the meta device, which every torch has."""
    query, key, value, segments = row_of_heads("meta", torch.bfloat16)
    output = by_flash(query, key, value, segments, 0.1, 0.25)
    assert output.shape == (1, sum(LENGTHS), 4, 8)
    output.float().sum().backward()
    assert query.grad.shape == query.shape


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_flash_attention_gives_the_numbers_of_padding():
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("needs compute capability 8.0")
    query, key, value, segments = row_of_heads("cuda", torch.bfloat16)
    flash = by_flash(query, key, value, segments, 0.0, 0.25)
    padding = by_padding(query, key, value, segments, 0.0, 0.25)
    torch.testing.assert_close(flash, padding, atol=2e-2, rtol=2e-2)
    grads = [torch.autograd.grad(way.float().square().sum(), (query, key, value)) for way in (flash, padding)]
    for ours, reference in zip(*grads, strict=True):
        torch.testing.assert_close(ours, reference, atol=5e-2, rtol=5e-2)
    torch.manual_seed(3)
    dropped = by_flash(query, key, value, segments, 0.1, 0.25)
    torch.manual_seed(3)
    assert torch.equal(dropped, by_flash(query, key, value, segments, 0.1, 0.25))
    assert not torch.allclose(dropped, flash, atol=1e-2)


def row_of_heads(device: str = "cpu", dtype: torch.dtype = torch.float32):
    """Query, key and value ``[1, 4, T, 8]`` of a packed row, and its segments."""
    torch.manual_seed(4)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])
    segments = Segments.of(LENGTHS, positions.to(device))
    heads = [torch.randn(1, 4, sum(LENGTHS), 8).to(device, dtype).requires_grad_() for _ in range(3)]
    return (*heads, segments)
