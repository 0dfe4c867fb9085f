"""One of two ranks that learn a few questions by heart, with one optimizer after another.

    python tests/train/onebit_learning_ranks.py FOLDER RANK VOCABULARY

FOLDER holds train.json; rank 0 writes FOLDER/learned.json: the final loss and F1 of each optimizer.
"""

import json
import os
import sys
from pathlib import Path

import msgspec
import torch
from holding import hold
from torch import distributed

from bertjob.config.job import Data, Job, Model, Optimizer, Schedule, Train
from bertjob.rundir.world import World
from bertjob.train.distributed.ranks import Ranks
from bertjob.train.rng import seed_micro_batch
from bertjob.train.schedule import learning_rate
from bertjob.train.tasks.squad.task import SquadTask
from bertjob.train.trainer import make_backend

CPU = torch.device("cpu")
RANKS, STEPS, FREEZE, LAST = 2, 90, 20, 10
OPTIMIZERS = {
    "adamw": Optimizer(lr=2e-3),
    "onebit-adam": Optimizer(name="onebit-adam", lr=2e-3, freeze_step=FREEZE),
}


def learn(job: Job, folder: Path, ranks: Ranks) -> dict[str, float]:
    """Train as the loop of a run does; on rank 0 the mean loss of the last steps, and F1."""
    task = SquadTask.from_job(job, hold(folder, ranks.world.rank), ranks, CPU)
    backend = make_backend(task.model, job, ranks.world, CPU, job.train.global_batch // job.train.micro_batch // RANKS)
    losses = []
    for step in range(STEPS):
        backend.model.train()
        own = task.micro_batches(step, ranks.world.rank, RANKS)
        for index, batch in enumerate(own):
            seed_micro_batch(job.seed, step, index)
            loss = task.loss(backend.model, batch)
            backend.backward(loss, last=index == len(own) - 1)
            losses.append(ranks.sum(loss.item())[0] / RANKS)
        backend.step(learning_rate(job.schedule, job.optimizer.lr, step, STEPS))
    last = losses[-LAST:]
    return {"loss": sum(last) / len(last), "first": losses[0], **task.evaluate(backend.model)}


def main() -> None:
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    world = World(rank, RANKS, rank, RANKS, "test")
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(folder / "store"), RANKS), rank=rank, world_size=RANKS
    )
    ranks = Ranks(world, distributed.group.WORLD)
    questions = str(folder / "train.json")
    job = Job(
        name="by-heart",
        precision="fp32",
        model=Model(vocab=sys.argv[3], layers=2, hidden=64, heads=2, dropout=0.0),
        data=Data(train=questions, dev=questions),
        train=Train(global_batch=8, micro_batch=4, epochs=1e6, max_steps=STEPS),
        schedule=Schedule(warmup_proportion=0.1),
    )
    learned = {
        name: learn(msgspec.structs.replace(job, optimizer=optimizer), folder, ranks)
        for name, optimizer in OPTIMIZERS.items()
    }
    if ranks.first:
        (folder / "learned.json").write_text(json.dumps(learned))
    ranks.barrier()
    os._exit(0)  # gloo's threads may abort an orderly exit


if __name__ == "__main__":
    main()
