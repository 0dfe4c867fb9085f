"""One rank of the tests of the back ends: trains a tiny model in every way, and writes what came out.

    python tests/train/backend_ranks.py FOLDER RANK WORLD_SIZE WAY…

FOLDER holds vocab.txt; the results go to FOLDER/results-WORLD_SIZE.json, from rank 0.
"""

import gc
import hashlib
import json
import os
import sys
from pathlib import Path

import msgspec
import torch
from torch import distributed

from bertjob.launch.world import World
from bertjob.spec.job import Job, Model, Optimizer, Train
from bertjob.train.backends import Backend
from bertjob.train.backends.make import make_backend
from bertjob.train.batch import Batch
from bertjob.train.model.forward import span_logits
from bertjob.train.model.init import build_question_answering

STEPS, HALF = 8, 4
MICRO_BATCHES = 8  # of one step, over all ranks
CPU = torch.device("cpu")
OFFLOAD = {"offload_optimizer": {"device": "cpu"}}
WAYS = {
    "torch": {},
    "zero0": {"zero_optimization": {"stage": 0}},
    "zero1": {"zero_optimization": {"stage": 1}},
    "zero2": {"zero_optimization": {"stage": 2}},
    "zero3": {"zero_optimization": {"stage": 3}},
    "zero1-offload": {"zero_optimization": {"stage": 1, **OFFLOAD}},
    "zero2-offload": {"zero_optimization": {"stage": 2, **OFFLOAD}},
    "zero3-offload": {"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}, **OFFLOAD}},
}


def job(way: str, folder: Path, precision: str = "fp32") -> Job:
    return Job(
        name="tiny",
        backend="torch" if way == "torch" else "deepspeed",
        precision=precision,
        seed=7,
        model=Model(vocab=str(folder / "vocab.txt"), layers=2, hidden=32, heads=4, ff=64, dropout=0.1),
        train=Train(global_batch=2 * MICRO_BATCHES, micro_batch=2, max_seq_length=32),
        optimizer=Optimizer(lr=3e-3, weight_decay=0.05, max_grad_norm=0.5),
        deepspeed=WAYS[way],
    )


def micro_batch(step: int, index: int) -> Batch:
    """Two samples, packed, of a task that can be learnt: the answer begins at the token 5 and ends at the token 6."""
    draw = torch.Generator().manual_seed(1000 * step + index)
    lengths = tuple(torch.randint(8, 24, (2,), generator=draw).tolist())
    samples, spans = [], []
    for length in lengths:
        sample = torch.randint(7, 100, (length,), generator=draw)
        start, end = sorted(torch.randperm(length, generator=draw)[:2].tolist())
        sample[start], sample[end] = 5, 6
        samples.append(sample)
        spans.append((start, end))
    starts, ends = torch.tensor(spans).unbind(1)
    ids = torch.cat(samples)[None]
    positions = torch.cat([torch.arange(length) for length in lengths])[None]
    return Batch(ids, torch.zeros_like(ids), positions, lengths, None, {"start": starts, "end": ends})


def train(backend: Backend, world: World, steps: range) -> list[float]:
    """As the loop does: dropout depends on step and micro batch, not on the rank; the losses of each step."""
    losses = []
    backend.model.train()
    for step in steps:
        mine = range(world.rank, MICRO_BATCHES, world.size)
        total = torch.zeros(())
        for index in mine:
            torch.manual_seed(1000 * step + index)
            batch = micro_batch(step, index)
            start, end = span_logits(backend.model, batch)
            loss = torch.nn.functional.cross_entropy(start, batch.targets["start"])
            loss = (loss + torch.nn.functional.cross_entropy(end, batch.targets["end"])) / 2
            backend.backward(loss, last=index == mine[-1])
            total += loss.detach() / MICRO_BATCHES
        if world.size > 1:
            distributed.all_reduce(total)
        outcome = backend.step(lr=3e-3 * (STEPS - step) / STEPS)
        assert not outcome.skipped
        losses.append([total.item(), outcome.grad_norm])
    return losses


def digest(backend: Backend) -> str | None:
    weights = backend.weights()
    if weights is None:
        return None
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def build(way: str, folder: Path, world: World) -> Backend:
    described = job(way, folder)
    return make_backend(build_question_answering(described), described, world, CPU, MICRO_BATCHES // world.size)


def straight_and_resumed(way: str, folder: Path, world: World) -> dict[str, object]:
    backend = build(way, folder, world)
    straight = train(backend, world, range(HALF))
    saved = folder / f"{way}-{world.size}"
    if world.rank == 0:
        saved.mkdir()
    if world.size > 1:
        distributed.barrier()
    backend.save(saved)
    straight += train(backend, world, range(HALF, STEPS))
    end = digest(backend)
    del backend
    gc.collect()
    backend = build(way, folder, world)
    backend.load(saved)
    resumed = train(backend, world, range(HALF, STEPS))
    return {"straight": straight, "resumed": resumed, "end": end, "resumed_end": digest(backend)}


def main() -> None:
    folder, rank, size, *ways = sys.argv[1:]
    world = World(int(rank), int(size), int(rank), int(size), "test")
    torch.set_num_threads(1)
    if world.size > 1:
        store = distributed.FileStore(str(Path(folder) / f"store-{size}"), world.size)
        distributed.init_process_group("gloo", store=store, rank=world.rank, world_size=world.size)
    results = {way: straight_and_resumed(way, Path(folder), world) for way in ways}
    if world.rank == 0:
        (Path(folder) / f"results-{size}.json").write_bytes(msgspec.json.encode(results))
    if world.size > 1:
        distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


if __name__ == "__main__":
    main()
