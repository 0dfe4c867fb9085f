"""One rank of the tests of the back ends: trains a tiny model in every way, and writes what came out.

    python tests/train/backend_ranks.py FOLDER RANK WORLD_SIZE WAY…

FOLDER holds vocab.txt; rank 0 writes FOLDER/results-WORLD_SIZE.json.
"""

import gc
import hashlib
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import torch
import toy_optimizer
from torch import Tensor, distributed
from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

from bertjob.config.job import Job, Model, OneBit, Optimizer, Train
from bertjob.config.registry.optimizers import OPTIMIZERS
from bertjob.errors import CheckpointError
from bertjob.rundir.world import World
from bertjob.train.backends import Backend, StepOutcome
from bertjob.train.data.batch import Batch
from bertjob.train.model.heads import span_logits
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.optim.onebit import CompressedOptimizer
from bertjob.train.tasks.squad.task import span_loss
from bertjob.train.trainer import make_backend

STEPS, HALF = 8, 4
MICRO_BATCHES = 8  # of one step, over all ranks
LR = 3e-3
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
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
    "torch-bf16": {},
    "zero1-bf16": {"zero_optimization": {"stage": 1}},
    "zero1-own-bf16": {"zero_optimization": {"stage": 1}, "bf16": {"enabled": True}},
    "torch-onebit": {},
    "client-onebit": {},
    "torch-zeroone": {},
    "client-zeroone": {},
}
GPU_WAYS = {
    "gpu-torch": {},
    "gpu-torch-bf16": {},
    "gpu-torch-fp16": {},
    "gpu-zero0-bf16": {"zero_optimization": {"stage": 0}},
    "gpu-zero1-fp16": {"zero_optimization": {"stage": 1}},
    "gpu-zero2-offload": {"zero_optimization": {"stage": 2, **OFFLOAD}},
    "gpu-zero3-bf16": {"zero_optimization": {"stage": 3}},
}

TOY_WAYS = {
    "torch-toy": {},
    "zero0-toy": {"zero_optimization": {"stage": 0}},
}
"""With an optimizer that the tests bring themselves."""


def job(way: str, folder: Path) -> Job:
    return Job(
        name="tiny",
        backend="torch" if "torch" in way else "deepspeed",
        precision=next((half for half in ("bf16", "fp16") if way.endswith(half)), "fp32"),
        model=Model(vocab=str(folder / "vocab.txt"), layers=2, hidden=32, heads=4, ff=64, dropout=0.1),
        train=Train(global_batch=2 * MICRO_BATCHES, micro_batch=2, max_seq_length=32),
        optimizer=optimizer(way),
        deepspeed=(WAYS | GPU_WAYS | TOY_WAYS)[way],
    )


def optimizer(way: str) -> Optimizer:
    """1-bit optimizers compress from the third step on, and 0/1 Adam is amid local steps when it is interrupted."""
    kinds = {"onebit": "onebit-adam", "zeroone": "zeroone-adam", "toy": toy_optimizer.NAME}
    kind = kinds.get(way.rpartition("-")[2], "adamw")
    said: dict[str, Any] = {"name": kind, "lr": LR, "weight_decay": 0.05, "max_grad_norm": 0.5}
    if OPTIMIZERS[kind].one_bit:
        local = OneBit(check_every=1, local_step_scaler=1, local_step_clipper=4)
        said |= {"freeze_step": 2, "onebit": local}
    return Optimizer(**said)


def build(way: str, folder: Path, world: World) -> Backend:
    described = job(way, folder)
    device = GPU if way in GPU_WAYS else CPU
    return make_backend(build_question_answering(described), described, world, device, MICRO_BATCHES // world.size)


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
    return Batch(
        ids, torch.zeros_like(ids), positions, lengths, None, {"start_positions": starts, "end_positions": ends}
    )


def take_step(backend: Backend, world: World, step: int, spoilt: float = 1.0) -> tuple[float, StepOutcome]:
    """As the loop does: dropout depends on step and micro batch, not on the rank.

    `spoilt` is a factor of the last rank's last loss.
    """
    mine = range(world.rank, MICRO_BATCHES, world.size)
    device = next(backend.model.parameters()).device
    total = torch.zeros((), device=device)
    for index in mine:
        torch.manual_seed(1000 * step + index)
        batch = micro_batch(step, index).to(device)
        loss = span_loss(*span_logits(backend.model, batch), batch.targets)
        backend.backward(loss * (spoilt if index == MICRO_BATCHES - 1 else 1.0), last=index == mine[-1])
        total += loss.detach() / MICRO_BATCHES
    if world.size > 1:
        distributed.all_reduce(total)
    return total.item(), backend.step(LR * (STEPS - step) / STEPS)


def train(backend: Backend, world: World, steps: range) -> list[tuple[float, float | None]]:
    """Loss and gradient norm of each step."""
    backend.model.train()
    taken = [take_step(backend, world, step) for step in steps]
    assert all(outcome.loss_scale is not None or not outcome.skipped for _, outcome in taken)
    return [(loss, outcome.grad_norm) for loss, outcome in taken]


def digest(weights: dict[str, Tensor] | None) -> str | None:
    if weights is None:
        return None
    return hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights))).hexdigest()


def distance(weights: dict[str, Tensor], reference: dict[str, Tensor]) -> float:
    """Greatest difference of any weight that has an influence on the loss.

    A softmax cancels what these biases add to all tokens alike: their gradients are rounding, which Adam blows up.
    """
    cancelled = ("key.bias", "layer.1.output.LayerNorm.bias", "qa_outputs.bias")
    names = [name for name in reference if not name.endswith(cancelled)]
    return max((weights[name] - reference[name]).abs().max().item() for name in names)


def straight_and_resumed(way: str, folder: Path, world: World, reference: dict[str, Tensor]) -> dict[str, object]:
    """Eight steps at one go; then the last four again from a checkpoint, in a new back end."""
    backend = build(way, folder, world)
    straight = train(backend, world, range(HALF))
    saved = folder / f"{way}-{world.size}"
    saved.mkdir(exist_ok=True)
    backend.save(saved)
    straight += train(backend, world, range(HALF, STEPS))
    weights = backend.weights()
    if way == "torch" and weights is not None:
        reference |= weights
    backend = None  # ZeRO's hooks and gloo's threads go before the next one comes
    gc.collect()
    backend = build(way, folder, world)
    backend.load(saved)
    return {
        "straight": straight,
        "weights": digest(weights),
        "resumed": train(backend, world, range(HALF, STEPS)),
        "resumed_weights": digest(backend.weights()),
        "names": sorted(weights or ()),
        "off": distance(weights, reference) if weights and reference else None,
    }


def overflow(folder: Path, world: World) -> dict[str, object]:
    """Steps with a loss scaler, one of them with an infinite gradient on the last rank."""
    backend = build("torch", folder, world)
    backend.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    backend.model.train()
    first = take_step(backend, world, 0)
    before = (digest(backend.weights()), optimizer_digest(backend._optimizer))
    spoilt = take_step(backend, world, 1, spoilt=float("inf"))
    after = (digest(backend.weights()), optimizer_digest(backend._optimizer))
    again = take_step(backend, world, 1)
    return {"first": first, "before": before, "spoilt": spoilt, "after": after, "again": again}


def compressed_overflow(way: str, folder: Path, world: World) -> dict[str, object]:
    """The same in a compressed step, where the other ranks' gradients are finite; every rank's word."""
    backend = build(way, folder, world)
    scaler = ShardedGradScaler("cpu", init_scale=2.0**10, process_group=distributed.group.WORLD)
    if way.startswith("torch"):
        backend.scaler, own = scaler, backend._optimizer
    else:
        backend._scaler, own = scaler, backend._own
    backend.model.train()
    for step in range(HALF):
        take_step(backend, world, step)
    before = (digest(backend.weights()), optimizer_digest(own), digest(errors(own)))
    _, outcome = take_step(backend, world, HALF, spoilt=float("inf"))
    after = (digest(backend.weights()), optimizer_digest(own), digest(errors(own)))
    _, again = take_step(backend, world, HALF)
    words: list[object] = [None] * world.size
    distributed.all_gather_object(words, (before == after, outcome, again.skipped))
    return {"words": words}


def errors(optimizer: CompressedOptimizer) -> dict[str, Tensor]:
    return {str(number): error for number, error in enumerate(optimizer.own_state_dict()["errors"])}


def optimizer_digest(optimizer: torch.optim.Optimizer) -> str:
    states = optimizer.state_dict()["state"]
    return digest({f"{place}.{name}": tensor for place in states for name, tensor in states[place].items()})


def refusal(way: str, folder: Path, world: World) -> str | None:
    """What a back end says to a checkpoint."""
    try:
        build(way, folder.parent, world).load(folder)
    except CheckpointError as error:
        return str(error)
    return None


def small_disk(folder: Path, world: World) -> dict[str, object]:
    """The last rank may write no more than 50 kB to a file; what each rank says to that."""
    if world.rank == world.size - 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
    said = {}
    for way in ("torch", "zero1") if world.size == 1 else ("zero1",):
        backend = build(way, folder, world)
        train(backend, world, range(1))
        saved = folder / f"small-{way}-{world.size}"
        saved.mkdir(exist_ok=True)
        message = ""
        try:
            backend.save(saved)
        except CheckpointError as error:
            message = str(error)
        messages = [message] * world.size
        if world.size > 1:
            distributed.all_gather_object(messages, message)
        said[way] = messages
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return said


def full_disk(folder: Path, world: World) -> tuple[str, list[str]]:
    """The last rank finds the disk full: what is said on rank 0, and which files are there."""
    backend = build("zero1", folder, world)
    saved = folder / "full"
    saved.mkdir(exist_ok=True)
    if world.rank == world.size - 1:
        shutil.disk_usage = lambda _: SimpleNamespace(free=1000)
    try:
        backend.save(saved)
    except CheckpointError as error:
        return str(error), [str(file) for file in saved.iterdir()]
    return "", []


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    OPTIMIZERS[toy_optimizer.NAME] = toy_optimizer.ROW
    world = World(rank, size, rank, size, "test")
    torch.set_num_threads(1)
    if size > 1:
        store = distributed.FileStore(str(folder / f"store-{size}"), size)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    reference: dict[str, Tensor] = {}
    results: dict[str, object] = {}
    for task in sys.argv[4:]:
        if task in WAYS | GPU_WAYS | TOY_WAYS:
            results[task] = straight_and_resumed(task, folder, world, reference)
        elif task == "overflow":
            results[task] = overflow(folder, world)
        elif task.startswith("overflow:"):
            results[task] = compressed_overflow(task.partition(":")[2], folder, world)
        elif task == "small-disk":
            results[task] = small_disk(folder, world)
        elif task == "full-disk":
            results[task] = full_disk(folder, world)
        else:
            way, saved = task.split(":")
            results[task] = refusal(way, folder / saved, world)
    if rank == 0:
        (folder / f"results-{size}.json").write_bytes(msgspec.json.encode(results))
    if size > 1:
        distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


if __name__ == "__main__":
    main()
