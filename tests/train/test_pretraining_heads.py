"""The heads of pre-training: the numbers of transformers' own, from packed and padded rows."""

import pytest
import torch
import transformers
from transformers import BertConfig

from bertjob.train.batch import Batch
from bertjob.train.model.attention import NAME
from bertjob.train.model.pretraining import MaskedLM, MaskedLMAndNextSentence, losses
from bertjob.train.pretrained import write_model

LENGTHS = (5, 9, 3)
WIDTH, WORDS = 9, 50


def config() -> BertConfig:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertConfig(vocab_size=WORDS, max_position_embeddings=16, attn_implementation=NAME, **sizes, **quiet)


def batches(pairs: bool) -> tuple[Batch, Batch, torch.Tensor]:
    """The same three samples packed and padded, and the labels as transformers wants them."""
    torch.manual_seed(3)
    ids = torch.randint(5, WORDS, (3, WIDTH))
    mask = torch.arange(WIDTH) < torch.tensor(LENGTHS)[:, None]
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


@pytest.mark.parametrize("pairs", [True, False])
def test_packed_and_padded_rows_give_the_losses_of_transformers(pairs):
    packed, padded, labels = batches(pairs)
    model = (MaskedLMAndNextSentence if pairs else MaskedLM)(config()).eval()
    stock = model.stock(config()).eval()
    stock.load_state_dict(model.state_dict())
    inputs = {"input_ids": padded.input_ids, "token_type_ids": padded.token_type_ids}
    more = {"next_sentence_label": padded.targets["next_sentence"]} if pairs else {}
    expected = stock(**inputs, attention_mask=padded.attention_mask, labels=labels, **more).loss
    for batch in (packed, padded):
        found = losses(model, batch)
        assert found.keys() == ({"mlm", "nsp"} if pairs else {"mlm"})
        assert sum(found.values()).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("kind", [MaskedLM, MaskedLMAndNextSentence])
def test_all_weights_learn(kind):
    """A weight without a gradient would stop DistributedDataParallel."""
    model = kind(config())
    packed, _, _ = batches(kind is MaskedLMAndNextSentence)
    sum(losses(model, packed).values()).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("kind", [MaskedLM, MaskedLMAndNextSentence])
def test_a_saved_model_is_transformers_own(kind, tmp_path):
    model = kind(config())
    write_model(tmp_path, model, model.state_dict(), lambda folder: None)
    loaded, loading = getattr(transformers, kind.stock.__name__).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert loaded.config.architectures == [kind.stock.__name__]
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
