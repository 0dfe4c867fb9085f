"""Estimates against the sizes, rates and memory that others have published, and that this machine shows."""

import json
from pathlib import Path

import msgspec
import pytest

from bertjob.config.job import Data, Job, Model, Train
from bertjob.config.load import load_job
from bertjob.config.site import Gpu
from bertjob.errors import SpecError
from bertjob.estimate.communication import exposed_seconds, ring_bytes
from bertjob.estimate.estimate import Estimate, estimate
from bertjob.estimate.job_files import samples_of, sizes_of
from bertjob.estimate.memory import activation_bytes, state_bytes
from bertjob.estimate.model_size import KNOWN, Sizes, flops, parameters
from bertjob.estimate.sample_counts import Samples, squad_samples

LARGE, BASE, MINILM = KNOWN["bert-large-uncased"], KNOWN["bert-base-uncased"], KNOWN["demo"]
V100 = Gpu(name="V100 32 GB", memory_gib=32, tflops=125, tflops_fp32=15.7)
A100 = Gpu(name="A100 40 GB", memory_gib=40, tflops=312, tflops_fp32=19.5)
SHORT, LONG, SQUAD = (Samples(None, tokens, tokens**2) for tokens in (128.0, 512.0, 384.0))


@pytest.mark.parametrize(("sizes", "millions"), [(LARGE, 334.1), (BASE, 108.9), (MINILM, 22.6)])
def test_parameters_are_those_of_the_real_models(sizes, millions):
    """Without the pooler, as for question answering."""
    assert parameters(sizes) / 1e6 == pytest.approx(millions, rel=0.003)


@pytest.mark.parametrize(
    ("tokens", "masked", "gflops"), [(384, 0, 739), (128, 20, 241), (128, 128, 262), (512, 80, 1020)]
)
def test_work_of_a_sample_of_bert_large(tokens, masked, gflops):
    assert flops(LARGE, tokens, tokens**2, masked) / 1e9 == pytest.approx(gflops, rel=0.01)


PUBLISHED = [
    ("V100, SQuAD, micro batch 4, PyTorch", V100, SQUAD, 4, 37.78),
    ("V100, SQuAD, micro batch 12, PyTorch", V100, SQUAD, 12, 49.32),
    ("V100, SQuAD, micro batch 4, DeepSpeed's kernel", V100, SQUAD, 4, 50.82),
    ("V100, SQuAD, micro batch 12, DeepSpeed's kernel", V100, SQUAD, 12, 61.41),
    ("V100, SQuAD, micro batch 32, DeepSpeed's kernel", V100, SQUAD, 32, 63.01),
    ("V100, sequence length 128, micro batch 64", V100, SHORT, 64, 272.0),
    ("V100, sequence length 512, micro batch 8", V100, LONG, 8, 52.0),
    ("A100, sequence length 128, micro batch 64", A100, SHORT, 64, 580.0),
]
"""Samples a second of BERT-large on one GPU: tutorials "1-bit Adam" (tables 2 and 3) and "BERT Pre-training"."""


@pytest.mark.parametrize(("case", "gpu", "samples", "micro_batch", "published"), PUBLISHED)
def test_speed_is_near_published_ones(case, gpu, samples, micro_batch, published):
    found = of_large(gpu, samples, micro_batch)
    error = found.samples_per_second / published - 1
    print(f"{case}: published {published}, estimated {found.samples_per_second:.1f} ({error:+.0%})")
    assert abs(error) < 0.4


def of_large(gpu: Gpu, samples: Samples, micro_batch: int, nodes: int = 1, gbits: float | None = None) -> Estimate:
    train = Train(global_batch=micro_batch * nodes, micro_batch=micro_batch, epochs=2)
    return estimate(Job(name="j", train=train), LARGE, samples, gpu, nodes, nodes, gbits)


def test_what_the_forward_pass_keeps_is_what_torch_keeps():
    """Counted in tensors that torch saves; weights that autocast casts, and embeddings, are not of the layers."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForQuestionAnswering

    from bertjob.train.model.attention import NAME, Segments

    sizes, lengths = Sizes(2, 128, 512, 1000), (128,) * 8
    tokens = sum(lengths)

    def kept(layers: int, half: bool) -> int:
        quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        heads = {"num_hidden_layers": layers, "num_attention_heads": 2, "attn_implementation": NAME}
        model = BertForQuestionAnswering(
            BertConfig(vocab_size=1000, hidden_size=128, intermediate_size=512, **heads, **quiet)
        )
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
        found = {}

        def note(tensor):
            storage = tensor.untyped_storage()
            cast_weight = tensor.dim() <= 2 and tokens not in tensor.shape
            if storage.data_ptr() not in own and not cast_weight:
                found[storage.data_ptr()] = storage.nbytes()
            return tensor

        positions = torch.cat([torch.arange(length) for length in lengths])
        ids = torch.zeros(1, tokens, dtype=torch.long)
        hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", torch.bfloat16, enabled=half):
            segments = Segments.of(lengths, positions)
            model(input_ids=ids, token_type_ids=ids, position_ids=positions[None], segments=segments)
        return sum(found.values())

    for half in (True, False):
        counted = kept(4, half) - kept(2, half)
        estimated = activation_bytes(sizes, tokens, fp32=not half)
        assert estimated == pytest.approx(counted, rel=0.25), f"half: {half}"


@pytest.mark.parametrize(("stage", "bytes_a_parameter"), [(0, 16), (1, 8 + 8 / 4), (2, 4 + 12 / 4), (3, 16 / 4)])
def test_zero_divides_the_state(stage, bytes_a_parameter):
    assert state_bytes(LARGE, 4, stage, half=False, moments=2) == pytest.approx(bytes_a_parameter * parameters(LARGE))
    assert state_bytes(LARGE, 1, stage, half=True, moments=2) == pytest.approx(16 * parameters(LARGE))


@pytest.mark.parametrize(
    ("stage", "offloaded", "bytes_a_parameter"),
    [(1, {"optimizer"}, 2 + 2), (2, {"optimizer"}, 2), (3, {"optimizer"}, 2 / 4), (3, {"optimizer", "param"}, 0)],
)
def test_what_is_offloaded_is_not_on_the_gpu(stage, offloaded, bytes_a_parameter):
    found = state_bytes(LARGE, 4, stage, True, offloaded, moments=2)
    assert found == pytest.approx(bytes_a_parameter * parameters(LARGE))
    zero = {"stage": stage, **{f"offload_{part}": {"device": "cpu"} for part in offloaded}}
    job = Job(name="j", backend="deepspeed", deepspeed={"bf16": {"enabled": True}, "zero_optimization": zero})
    assert estimate(job, LARGE, SQUAD, A100, 1, 4, None).memory.state == pytest.approx(
        bytes_a_parameter * parameters(LARGE)
    )


def test_a_micro_batch_that_does_not_fit_is_said_with_those_that_do():
    found = of_large(V100, SQUAD, 96)
    assert not found.fits
    assert found.micro_batches[-1] < 96
    assert all(of_large(V100, SQUAD, micro_batch).fits for micro_batch in found.micro_batches)


def test_communication_hides_behind_the_backward_pass_until_the_network_is_too_slow():
    assert ring_bytes(1e9, 2) == pytest.approx(1e9)
    assert exposed_seconds(1.0, 2.0) == 0.0
    fast, slow = (of_large(A100, SQUAD, 32, nodes=8, gbits=gbits) for gbits in (200, 10))
    assert fast.communication == 0.0
    assert fast.sending == pytest.approx(0.0936, rel=0.01)  # 2 * 7/8 of 1.34 GB at 25 GB/s, all hidden
    assert slow.communication == pytest.approx(0.91, abs=0.01)  # 2.34 GB at 1.25 GB/s beside 0.18 s of work
    assert of_large(A100, SQUAD, 32, nodes=8).communication is None
    assert of_large(A100, SQUAD, 32).communication == 0.0


def test_steps_are_by_epochs_or_by_what_the_job_says():
    samples = Samples(1001, 100.0, 10000.0)
    job = Job(name="j", train=Train(epochs=2, global_batch=24, micro_batch=3))
    assert estimate(job, BASE, samples, A100, 1, 8, None).steps == 84
    assert estimate(Job(name="j", train=Train(max_steps=7)), BASE, samples, A100, 1, 8, None).steps == 7
    unknown = estimate(job, BASE, SQUAD, A100, 1, 8, None)
    assert (unknown.steps, unknown.seconds) == (None, None)


@pytest.mark.parametrize(("gpu", "key"), [(Gpu(tflops=1), "gpu.memory_gib"), (Gpu(memory_gib=1), "gpu.tflops")])
def test_a_site_that_says_nothing_of_its_gpus_is_said(gpu, key):
    with pytest.raises(SpecError, match=key):
        estimate(Job(name="j"), BASE, SQUAD, gpu, 1, 1, None)


def test_lengths_of_real_questions_are_guessed_from_their_characters(test_data: Path):
    """Real ones, by BERT's tokenizer: 12,032 samples of 162.3 tokens, 10,833 of 178.5."""
    for name, count, tokens in (("train-v1.1.part", 12032, 162.3), ("dev-v1.1", 10833, 178.5)):
        found, _ = samples_of(Job(name="j", data=Data(train=str(test_data / f"squad/{name}.json"))))
        assert (found.count, found.tokens) == (pytest.approx(count, rel=0.01), pytest.approx(tokens, rel=0.01))


def test_pretraining_asks_about_masked_tokens():
    job = load_job("mlm").value
    length = float(job.train.max_seq_length)
    samples, _ = samples_of(job)
    assert samples == Samples(None, length, length**2, pytest.approx(0.15 * (length - 3)))  # full sentences
    job = load_job("pretrain-seq128").value
    assert sizes_of(job) == msgspec.structs.replace(LARGE, vocab=30528)  # a multiple of model.pad_vocab
    found = estimate(job, LARGE, samples_of(job)[0], V100, 16, 256, 100.0)
    assert found.steps == 24430
    assert found.fits
    with pytest.raises(SpecError, match="no steps"):
        samples_of(load_job("smoke").value)


@pytest.mark.parametrize(("name", "mean"), [("pretrain-seq128", 107), ("pretrain-seq512", 254)])
def test_pairs_are_as_long_as_wikipedias_where_no_corpus_is_at_hand(name, mean):
    samples, said = samples_of(load_job(name).value)
    assert samples.tokens == pytest.approx(mean, rel=0.02)
    assert said == f"samples of {samples.tokens:.0f} tokens, from documents like Wikipedia's"
    padded = load_job(name, ["train.batching=padded"]).value
    assert samples_of(padded)[0].tokens == padded.train.max_seq_length


def test_padding_costs():
    found = squad_samples([(50, 700)], Train(batching="padded"))
    assert (found.count, found.tokens, found.squares) == (1, 384, 384**2)


def test_sizes_come_from_the_name_the_keys_or_the_folder(tmp_path):
    assert sizes_of(Job(name="j", model=Model(init="google-bert/bert-large-uncased"))) == LARGE
    assert sizes_of(Job(name="j", model=Model(init="random", layers=2, hidden=128))) == Sizes(2, 128, 512)
    config = {"num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 256, "vocab_size": 99}
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 128}))
    assert sizes_of(Job(name="j", model=Model(init=str(tmp_path)))) == Sizes(3, 64, 256, 99, 128)
    (tmp_path / "manifest.json").write_text(json.dumps({"vocabulary": {"size": 4001}}))
    prepared = Model(init="random", layers=2, hidden=128, pad_vocab=64)
    assert sizes_of(Job(name="j", model=prepared, data=Data(shards=str(tmp_path)))).vocab == 4032
    assert sizes_of(Job(name="j", model=Model(init="run:soon", layers=2, hidden=128))) == Sizes(2, 128, 512)
    with pytest.raises(SpecError, match="its sizes are not known here"):
        sizes_of(Job(name="j", model=Model(init="run:soon")))
    with pytest.raises(SpecError, match="its sizes are not known here"):
        sizes_of(Job(name="j", model=Model(init="somebody/else")))
