"""How near BERT-large pre-trains to what a GPU can do, and how much memory each micro batch takes. Needs CUDA.

The measure is M, the rate of a product of two bf16 matrices of 8192 x 8192 on the same GPU in the same process; what
counts are the operations that a sample needs at its own length, so that padding or recomputing would count against us.
Samples are pairs of the books of BERTJOB_TEST_DATA; the step is that of `bertjob run`.
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bertjob.cluster.training import prepare
from bertjob.config.job import Data, Job, Model, Optimizer, Pretraining, Train
from bertjob.estimate.estimate import memory
from bertjob.estimate.model_size import KNOWN, Sizes, flops
from bertjob.estimate.sample_counts import Samples
from bertjob.rundir.messages import Preparation
from bertjob.rundir.world import World
from bertjob.train.backends.torch import TorchBackend
from bertjob.train.data.batch import Batch
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.model.heads import losses
from bertjob.train.model.initialize import build
from bertjob.train.tasks.pretraining.masking import Vocabulary
from bertjob.train.tasks.pretraining.source import open_sources
from bertjob.train.tasks.pretraining.task import Maker

LARGE = KNOWN["bert-large-uncased"]
GOALS = {128: 0.55, 512: 0.50}
"""Share of M, by tokens of a sample."""
MICRO_BATCHES = {128: (16, 64, 256), 512: (4, 16, 64)}
STEPS, WARM_UP = 10, 3
_GIB = 2**30


def main() -> int:
    """Measure and print; 0 if all goals are met, or there is no GPU."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not torch.cuda.is_available() or not data:
        print("BERT-large on a GPU: not measured, " + ("no CUDA here" if data else "BERTJOB_TEST_DATA is not set"))
        return 0
    device = torch.device("cuda")
    most = matmul_rate(8192, device)
    print(f"{torch.cuda.get_device_name(device)}: M = {most / 1e12:.0f} TFLOP/s (bf16, 8192^3)")
    with tempfile.TemporaryDirectory() as folder:
        books, vocab = str(Path(data, "corpora", "gutenberg")), str(Path(data, "vocab.txt"))
        prepare(Preparation((books,), str(Path(folder, "shards")), vocab, None, False, 0.1, 4), lambda told: None)
        return max(of_length(length, LARGE, Path(folder, "shards"), device, most) for length in GOALS)


def of_length(length: int, sizes: Sizes, shards: Path, device: torch.device, most: float) -> int:
    """All micro batches of a length; 1 where the fastest misses the goal."""
    best = 0.0
    for micro_batch in MICRO_BATCHES[length]:
        job = job_of(sizes, length, micro_batch, shards)
        samples, share, peak = rate(job, sizes, device)
        estimated = memory(job, sizes, mean_samples(job), 1, micro_batch).total
        print(
            f"  {length} tokens, micro batch {micro_batch:3}: {samples:6.0f} samples/s, {share / most:.2f} M, "
            f"{peak / _GIB:5.1f} GiB of tensors (estimate, with CUDA's own: {estimated / _GIB:.1f})"
        )
        best = max(best, share / most)
    print(f"  {length} tokens: {best:.2f} M (goal {GOALS[length]})")
    return int(best < GOALS[length])


def job_of(sizes: Sizes, length: int, micro_batch: int, shards: Path) -> Job:
    """Pre-training as the shipped recipes have it, one micro batch a step."""
    return Job(
        name="bench",
        task="pretrain",
        model=Model(layers=sizes.layers, hidden=sizes.hidden, ff=sizes.ff, pad_vocab=64),
        data=Data(shards=str(shards)),
        train=Train(global_batch=micro_batch, micro_batch=micro_batch, max_seq_length=length, max_steps=STEPS),
        pretraining=Pretraining(max_predictions_per_seq=length * 20 // 128),
        optimizer=Optimizer(name="lamb", lr=1e-3, weight_decay=0.01),
    )


def mean_samples(job: Job) -> Samples:
    """What the estimate assumes of samples: all are full."""
    tokens = float(job.train.max_seq_length)
    return Samples(None, tokens, tokens**2, float(job.pretraining.max_predictions_per_seq or 0))


def rate(job: Job, sizes: Sizes, device: torch.device) -> tuple[float, float, float]:
    """Samples a second, operations a second, and the most bytes that tensors took on a GPU (0 on a CPU)."""
    batches = [batch.to(device) for batch in batches_of(job)]
    backend = TorchBackend(build(job, "masked and next"), job, World(0, 1, 0, 1, "bench"), device, 1)
    backend.model.train()
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    spent = []
    for batch in batches:
        began = time.perf_counter()
        found = losses(backend.model, batch)
        backend.backward(torch.stack(list(found.values())).sum(), last=True)
        backend.step(1e-4)
        if on_gpu:
            torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - began)
    seconds = statistics.median(spent[WARM_UP:])
    work = statistics.mean(operations(batch, sizes) for batch in batches[WARM_UP:])
    peak = float(torch.cuda.max_memory_allocated(device)) if on_gpu else 0.0
    return job.train.micro_batch / seconds, work / seconds, peak


def batches_of(job: Job) -> list[Batch]:
    """Micro batches, made beforehand as the training makes them beside its steps."""
    tokenizer = load_tokenizer(Path(job.data.shards or "") / "tokenizer.json")
    vocabulary = Vocabulary.of(tokenizer.tokenizer.get_vocab())
    maker = Maker(job, open_sources(job, tokenizer).train, vocabulary, job.seed)
    size = job.train.micro_batch
    return [maker.batch(np.arange(step * size, (step + 1) * size)) for step in range(WARM_UP + STEPS)]


def operations(batch: Batch, sizes: Sizes) -> float:
    """Floating-point operations that the samples of a batch need, each at its own length."""
    masked = len(batch.targets["mask_labels"])
    return flops(sizes, sum(batch.seqlens), sum(length**2 for length in batch.seqlens), masked)


def matmul_rate(size: int, device: torch.device) -> float:
    """Operations a second of a product of two bf16 matrices, the best of some."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    best = float("inf")
    for _ in range(20):
        began = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


if __name__ == "__main__":
    sys.exit(main())
