"""Records what DeepSpeed 0.19.6, the last with 1-bit Adam, makes of tests/train/onebit_problem.py, on CPUs.

    pip install --no-deps --target /tmp/deepspeed-0.19.6 deepspeed==0.19.6        (with DS_BUILD_OPS=0)
    PYTHONPATH=/tmp/deepspeed-0.19.6 python tests/train/record_deepspeed_onebit.py

writes tests/train/onebit_deepspeed.json: for 2 and 4 ranks, the mean loss of each step. What DeepSpeed itself requires
is in bertjob's environment already.

On a CPU its bit packer cannot be built, so torch packs in its place, by the same rule (a set bit is a plus); and an
all-gather of scalars is given one dimension, as gloo wants it. All else is DeepSpeed's.
"""

import json
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, distributed, nn

VERSION = "0.19.6"
OUT = Path(__file__).with_name("onebit_deepspeed.json")
_WEIGHTS = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)


class TorchPacker:
    """What DeepSpeed's PackbitsBuilder loads, in torch."""

    def load(self) -> "TorchPacker":
        return self

    def packbits(self, values: Tensor, size: int, rank: int) -> Tensor:
        return ((values.view(-1, 8) >= 0).to(torch.uint8) * _WEIGHTS).sum(1, dtype=torch.uint8)

    def unpackbits(self, packed: Tensor, size: int, rank: int) -> Tensor:
        return ((packed[:, None] & _WEIGHTS) != 0).float().mul(2).sub(1).flatten()


def train(rank: int, ranks: int, folder: str, pipe) -> None:
    """One rank."""
    os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    import deepspeed
    from deepspeed import comm
    from deepspeed.runtime.comm import compressed
    from deepspeed.runtime.fp16.onebit.adam import OnebitAdam
    from onebit_problem import FREEZE, SETTINGS, batches, network

    assert deepspeed.__version__.startswith(VERSION), deepspeed.__version__
    store = distributed.FileStore(f"{folder}/{ranks}", ranks)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    comm.init_distributed("gloo")
    compressed.PackbitsBuilder = TorchPacker
    gather = comm.all_gather
    compressed.dist.all_gather = lambda found, own, group=None: gather(found, own.reshape(found[0].shape), group=group)

    engine = SimpleNamespace(mpu=None, local_rank=rank, enable_backward_allreduce=True)
    model = network()
    optimizer = OnebitAdam(
        model.parameters(), deepspeed=engine, freeze_step=FREEZE, comm_backend_name="compressed", **SETTINGS
    )
    losses = []
    for inputs, classes in batches(rank, ranks):
        loss = nn.functional.cross_entropy(model(inputs), classes)
        optimizer.zero_grad()
        loss.backward()
        if engine.enable_backward_allreduce:
            for parameter in model.parameters():
                distributed.all_reduce(parameter.grad)
                parameter.grad /= ranks
        optimizer.step()
        mean = loss.detach().clone()
        distributed.all_reduce(mean)
        losses.append(mean.item() / ranks)
    if rank == 0:
        pipe.send(losses)
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


def main() -> None:
    """Train with 2 and 4 ranks, write the losses."""
    context = multiprocessing.get_context("spawn")
    recorded = {}
    with tempfile.TemporaryDirectory() as folder:
        for ranks in (2, 4):
            ours, theirs = context.Pipe()
            workers = [context.Process(target=train, args=(rank, ranks, folder, theirs)) for rank in range(ranks)]
            for worker in workers:
                worker.start()
            recorded[ranks] = ours.recv()
            for worker in workers:
                worker.join()
    OUT.write_text(json.dumps({"deepspeed": VERSION, "torch": torch.__version__, "losses": recorded}, indent=1) + "\n")


if __name__ == "__main__":
    main()
