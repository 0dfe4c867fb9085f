"""The heads of pre-training: the numbers of transformers' own, from packed and padded rows, of every kind and norm."""

from dataclasses import replace

import pytest
import torch
import transformers
from torch.nn import functional

from bertjob.train.checkpoint.export import write_model
from bertjob.train.data.batch import Batch
from bertjob.train.model.attention import NAME
from bertjob.train.model.heads import losses
from bertjob.train.model.networks import FAMILIES

LENGTHS = (5, 9, 3)
WIDTH, WORDS = 9, 50
NETWORKS = [(kind, head) for kind, family in FAMILIES.items() for head in family.networks if head != "spans"]


def make(kind: str, head: str) -> torch.nn.Module:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    marks = {} if kind == "bert" else {"pad_token_id": 1, "type_vocab_size": 1 if kind == "roberta" else 2}
    config = FAMILIES[kind].config(
        vocab_size=WORDS, max_position_embeddings=16, attn_implementation=NAME, **sizes, **quiet, **marks
    )
    return FAMILIES[kind].networks[head](config).eval()


def batches(pairs: bool) -> tuple[Batch, Batch, torch.Tensor]:
    """The same three samples packed and padded, and the labels as transformers wants them."""
    torch.manual_seed(3)
    ids = torch.randint(5, WORDS, (3, WIDTH))
    mask = torch.arange(WIDTH) < torch.tensor(LENGTHS)[:, None]
    ids[~mask] = 1  # RoBERTa's padding, by which transformers counts its positions
    segments = (torch.arange(WIDTH) >= torch.tensor([[2], [4], [1]])).long() * mask
    positions = torch.arange(WIDTH).repeat(3, 1)
    chosen = torch.zeros_like(mask)
    chosen[0, 1] = chosen[1, 2] = chosen[1, 8] = chosen[2, 2] = True
    labels = torch.where(chosen, torch.randint(5, WORDS, (3, WIDTH)), -100)
    answers = {"next_sentence": torch.tensor([0, 1, 1])} if pairs else {}
    wanted = {"mask_labels": labels[chosen], **answers}
    padded_places, packed_places = chosen.flatten().nonzero()[:, 0], chosen[mask].nonzero()[:, 0]
    padded = Batch(ids, segments, positions, LENGTHS, mask.long(), {"mask_positions": padded_places, **wanted})
    rows = (ids[mask][None], segments[mask][None], positions[mask][None])
    packed = Batch(*rows, LENGTHS, None, {"mask_positions": packed_places, **wanted})
    return packed, padded, labels


def by_transformers(model: torch.nn.Module, batch: Batch, labels: torch.Tensor) -> float:
    """The loss of transformers' own class, with the same weights; it is told no positions."""
    weights = model.state_dict()
    stock = model.stock(model.config).eval()
    stock.load_state_dict({name: weights[name] for name in stock.state_dict()})
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "labels": labels}
    if model.config.type_vocab_size > 1:
        inputs["token_type_ids"] = batch.token_type_ids
    answers = batch.targets.get("next_sentence")
    if answers is None or model.config.model_type == "bert":
        return stock(**inputs, **({} if answers is None else {"next_sentence_label": answers})).loss.item()
    inputs.pop("labels")
    pooled = model.base_model(**inputs).pooler_output  # transformers has no pre-LN class with both heads
    next_sentence = functional.cross_entropy(model.seq_relationship(pooled), answers)
    return (stock(**inputs, labels=labels).loss + next_sentence).item()


@pytest.mark.parametrize(("kind", "head"), NETWORKS)
def test_packed_and_padded_rows_give_the_losses_of_transformers(kind, head):
    pairs = head == "masked and next"
    packed, padded, labels = batches(pairs)
    model = make(kind, head)
    expected = by_transformers(model, padded, labels)
    for batch in (packed, padded):
        found = losses(model, batch)
        assert found.keys() == ({"tokens", "pairs"} if pairs else {"tokens"})
        assert sum(found.values()).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("kind", "head"), NETWORKS)
def test_a_batch_without_masked_tokens_has_no_loss_of_them_and_all_gradients(kind, head):
    model = make(kind, head).train()
    for batch in batches(head == "masked and next")[:2]:
        none = {name: batch.targets[name][:0] for name in ("mask_positions", "mask_labels")}
        found = losses(model, replace(batch, targets=batch.targets | none))
        assert found["tokens"].item() == 0
        model.zero_grad()
        sum(found.values()).backward()
        grads = {name: weight.grad for name, weight in model.named_parameters()}
        assert [name for name, grad in grads.items() if grad is None or not grad.isfinite().all()] == []
        assert head == "masked and next" or not any(grad.any() for grad in grads.values())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(("kind", "head"), NETWORKS)
def test_all_weights_learn(kind, head, checkpointing):
    """A weight without a gradient would stop DistributedDataParallel."""
    model = make(kind, head).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    packed, _, _ = batches(head == "masked and next")
    sum(losses(model, packed).values()).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize(("kind", "head"), NETWORKS)
def test_a_saved_model_is_transformers_own(kind, head, tmp_path):
    model = make(kind, head)
    write_model(tmp_path, model, model.state_dict(), lambda folder: None)
    loaded, loading = getattr(transformers, model.stock.__name__).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.architectures == [model.stock.__name__]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
