"""What a compressed step costs, and how fast signs are packed, on this machine's CPU.

Two ranks over gloo, one thread each, with the tensors of MiniLM (22.6 M values). Against 1-bit Adam's compressed step
runs what one writes first: the paper's algorithm tensor by tensor, four collectives each. They take turns on the same
gradients; what counts is the median over the rounds of the ratio of their CPU times.
"""

import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from bertjob.train.optim import OneBitAdam
from bertjob.train.optim.onebit import bits

ROUNDS, WARM_UP, RANKS = 6, 2, 2
GOAL = 2.0
_LAYER = [(384, 384), (384,)] * 4 + [(1536, 384), (1536,), (384, 1536), (384,)] + [(384,)] * 4
SHAPES = [(30522, 384), (512, 384), (2, 384), (384,), (384,), *_LAYER * 6]
_WEIGHTS = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)


def main() -> int:
    """Measure and print; 0 if the goal is met."""
    packing()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe(duplex=False)
        ranks = [context.Process(target=one_rank, args=(rank, folder, theirs)) for rank in range(RANKS)]
        for rank in ranks:
            rank.start()
        spent: dict[str, list[float]] = ours.recv()
        for rank in ranks:
            rank.join()
    ratio = statistics.median(plain / own for plain, own in zip(spent["plain"], spent["own"], strict=True))
    own, plain = (1e3 * statistics.median(spent[name]) for name in ("own", "plain"))
    print(f"compressed step, {RANKS} ranks, {sum(map(_count, SHAPES)) / 1e6:.1f} M values: {own:.0f} ms of CPU time")
    print(f"  tensor by tensor {plain:.0f} ms: x {ratio:.2f} (goal {GOAL})")
    return int(ratio < GOAL)


def packing() -> None:
    """Print GB/s of float32 values, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    values, scale = torch.randn(1 << 24), torch.tensor(0.5)
    packed, out = bits.pack(values), torch.empty(1, len(values))
    ways: dict[str, Callable[[], object]] = {
        "pack": lambda: bits.pack(values),
        "compress (pack, and keep the error)": lambda: bits.compress(values, scale),
        "unpack": lambda: bits.unpack(packed[None], scale[None], out),
    }
    for name, way in ways.items():
        seconds = statistics.median(cpu_seconds(way) for _ in range(ROUNDS))
        print(f"{name}: {values.nbytes / 1e9 / seconds:.1f} GB/s a core")
    torch.set_num_threads(threads)


def one_rank(rank: int, folder: str, pipe: Connection) -> None:
    """Both ways, in turns; rank 0 sends its CPU times."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(Path(folder) / "store"), RANKS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    torch.manual_seed(0)
    start = [0.02 * torch.randn(shape) for shape in SHAPES]
    own, plain = ([nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2))
    optimizers = {"own": OneBitAdam(own, lr=1e-5, freeze_step=1), "plain": PlainOneBitAdam(plain, lr=1e-5)}
    spent: dict[str, list[float]] = {name: [] for name in optimizers}
    torch.manual_seed(1)  # the first step's gradients are averaged ones, so the same on all ranks
    for number in range(WARM_UP + ROUNDS):
        for mine, theirs in zip(own, plain, strict=True):
            mine.grad = theirs.grad = torch.randn(mine.shape)
        torch.manual_seed(100 * number + rank)
        for name in optimizers if number % 2 else reversed(optimizers):
            distributed.barrier()
            spent[name].append(cpu_seconds(optimizers[name].step))
    if rank == 0:
        pipe.send({name: found[WARM_UP:] for name, found in spent.items()})
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


class PlainOneBitAdam:
    """1-bit Adam as one writes it first; its first step is Adam's."""

    def __init__(self, tensors: list[nn.Parameter], lr: float) -> None:
        self.tensors, self.lr = tensors, lr
        self.first, self.second = ([torch.zeros_like(tensor) for tensor in tensors] for _ in range(2))
        sizes = [-(-tensor.numel() // (8 * RANKS)) * 8 * RANKS for tensor in tensors]
        self.worker = [torch.zeros(size) for size in sizes]
        self.server = [torch.zeros(size // RANKS) for size in sizes]
        self.frozen = False

    @torch.no_grad()
    def step(self) -> None:
        """One step."""
        for number, tensor in enumerate(self.tensors):
            first, second, gradient = self.first[number], self.second[number], tensor.grad
            assert gradient is not None
            first.mul_(0.9).add_(gradient, alpha=0.1)
            if self.frozen:
                first.copy_(self.mean(first.flatten(), self.worker[number], self.server[number]).view_as(first))
            else:
                second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            tensor.sub_(self.lr * first / (second.sqrt() + 1e-8))
        self.frozen = True

    def mean(self, values: Tensor, worker: Tensor, server: Tensor) -> Tensor:
        """The 1-bit mean of one tensor."""
        padded = nn.functional.pad(values, (0, len(worker) - len(values))) + worker
        scale = padded.norm() / len(padded) ** 0.5
        signs = torch.where(padded >= 0, 1.0, -1.0)
        worker.copy_(padded - scale * signs)
        sent = _packed(signs).view(RANKS, -1)
        received, scales = torch.empty_like(sent), torch.empty(RANKS)
        distributed.all_to_all_single(received, sent)
        distributed.all_gather(list(scales.split(1)), scale.view(1))
        mean = (_unpacked(received) * scales[:, None]).mean(0) + server
        scale = mean.norm() / len(mean) ** 0.5
        signs = torch.where(mean >= 0, 1.0, -1.0)
        server.copy_(mean - scale * signs)
        own = _packed(signs)
        shares = [torch.empty_like(own) for _ in range(RANKS)]
        distributed.all_gather(shares, own)
        distributed.all_gather(list(scales.split(1)), scale.view(1))
        return (_unpacked(torch.stack(shares)) * scales[:, None]).flatten()[: len(values)]


def _packed(signs: Tensor) -> Tensor:
    return ((signs.view(-1, 8) > 0) * _WEIGHTS).sum(1, dtype=torch.uint8)


def _unpacked(packed: Tensor) -> Tensor:
    return ((packed[..., None] & _WEIGHTS) != 0).float().mul(2).sub(1).flatten(-2)


def _count(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of this process."""
    before = time.process_time()
    work()
    return time.process_time() - before


if __name__ == "__main__":
    raise SystemExit(main())
