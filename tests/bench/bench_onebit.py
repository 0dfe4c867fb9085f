"""What a compressed step costs, and how fast signs are packed, on this machine's CPU; compression on its GPU.

Two ranks over gloo, one thread each, with the tensors of MiniLM (22.6 M values). Against 1-bit Adam's compressed step
run what one writes first, the paper's algorithm tensor by tensor, four collectives each; and a prototype with four
collectives in all, where there is one: the file that BERTJOB_ONEBIT_PROTOTYPE names, else
`../reference/onebit_prototype.py` beside BERTJOB_TEST_DATA. They take turns on the same gradients; what counts is the
median over the rounds of the ratio of their CPU times.

With CUDA, the time of compressing 268 M values, the error kept, is set against that of copying them: nearly as many
bytes are read and written.
"""

import importlib.util
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from bertjob.train.optim import OneBitAdam
from bertjob.train.optim.onebit import codec
from bertjob.train.optim.onebit.codec import codec_for
from bertjob.train.optim.onebit.layout import Layout, line_up

ROUNDS, WARM_UP, RANKS = 6, 2, 2
GOAL = 2.0
GPU_GOAL = 0.5
"""Share of the bandwidth of a copy."""
_LAYER = [(384, 384), (384,)] * 4 + [(1536, 384), (1536,), (384, 1536), (384,)] + [(384,)] * 4
SHAPES = [(30522, 384), (512, 384), (2, 384), (384,), (384,), *_LAYER * 6]
_WEIGHTS = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)


def main() -> int:
    """Measure and print; 0 if all goals are met."""
    packing()
    return max(on_gpu(), steps())


def steps() -> int:
    """Compressed steps on two ranks; 1 where one misses the goal."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = context.Pipe(duplex=False)
        ranks = [context.Process(target=one_rank, args=(rank, folder, theirs)) for rank in range(RANKS)]
        for rank in ranks:
            rank.start()
        spent: dict[str, list[float]] = ours.recv()
        for rank in ranks:
            rank.join()
    own = spent.pop("own")
    values, took = sum(map(_count, SHAPES)) / 1e6, 1e3 * statistics.median(own)
    print(f"compressed step, {RANKS} ranks, {values:.1f} M values: {took:.0f} ms of CPU time")
    slow = 0
    for name, theirs in spent.items():
        ratio = statistics.median(other / ours for other, ours in zip(theirs, own, strict=True))
        print(f"  {name} {1e3 * statistics.median(theirs):.0f} ms: x {ratio:.2f} (goal {GOAL})")
        slow |= int(ratio < GOAL)
    if "prototype" not in spent:
        file = prototype_file()
        why = f"{file} is not there" if file else "BERTJOB_ONEBIT_PROTOTYPE is not set"
        print(f"  prototype: not measured, {why}")
    return slow


def on_gpu() -> int:
    """Print the speed of compressing, as a share of a copy's; 1 where it misses the goal."""
    if not torch.cuda.is_available():
        print("compress on a GPU: not measured, no CUDA here")
        return 0
    device = torch.device("cuda")
    layout = Layout.of(line_up([1 << 22] * 64), 4)
    values = torch.randn(layout.segments[-1].end, device=device)
    scales, rows = torch.rand(64, device=device), torch.empty(4, layout.row, dtype=torch.uint8, device=device)
    codec, copy = codec_for(layout, device), torch.empty_like(values)
    rounds = [
        (gpu_seconds(lambda: codec.deal(values, scales, rows)), gpu_seconds(lambda: copy.copy_(values)))
        for _ in range(WARM_UP + ROUNDS)
    ][WARM_UP:]
    speed = values.nbytes / 1e9 / statistics.median(own for own, _ in rounds)
    share = statistics.median(copied / own for own, copied in rounds)
    print(
        f"{type(codec).__name__}.deal on {torch.cuda.get_device_name(device)}: {speed:.0f} GB/s of values, "
        f"{share:.2f} of a copy's (goal {GPU_GOAL})"
    )
    return int(share < GPU_GOAL)


def gpu_seconds(work: Callable[[], object]) -> float:
    """Time on the GPU of one of ten calls."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(10):
        work()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1e4


def packing() -> None:
    """Print GB/s of float32 values, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    values, scale = torch.randn(1 << 24), torch.tensor(0.5)
    packed, out = codec.pack(values), torch.empty(1, len(values))
    ways: dict[str, Callable[[], object]] = {
        "pack": lambda: codec.pack(values),
        "compress (pack, and keep the error)": lambda: codec.compress(values, scale),
        "unpack": lambda: codec.unpack(packed[None], scale[None], out),
    }
    for name, way in ways.items():
        seconds = statistics.median(cpu_seconds(way) for _ in range(ROUNDS))
        print(f"{name}: {values.nbytes / 1e9 / seconds:.1f} GB/s a core")
    torch.set_num_threads(threads)


def one_rank(rank: int, folder: str, pipe: Connection) -> None:
    """All ways, in turns; rank 0 sends its CPU times."""
    torch.set_num_threads(1)
    store = distributed.FileStore(str(Path(folder) / "store"), RANKS)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=RANKS)
    torch.manual_seed(0)
    start = [0.02 * torch.randn(shape) for shape in SHAPES]
    own, plain, proto = ([nn.Parameter(tensor.clone()) for tensor in start] for _ in range(3))
    optimizers: dict[str, Any] = {
        "own": OneBitAdam(own, lr=1e-5, freeze_step=1),
        "tensor by tensor": PlainOneBitAdam(plain, lr=1e-5),
    }
    if prototype := load_prototype():
        optimizers["prototype"] = prototype(proto, lr=1e-5, freeze_step=1)
    spent: dict[str, list[float]] = {name: [] for name in optimizers}
    torch.manual_seed(1)  # the first step's gradients are averaged ones, so the same on all ranks
    for number in range(WARM_UP + ROUNDS):
        for tensors in zip(own, plain, proto, strict=True):
            gradient = torch.randn(tensors[0].shape)
            for tensor in tensors:
                tensor.grad = gradient
        torch.manual_seed(100 * number + rank)
        for name in optimizers if number % 2 else reversed(optimizers):
            distributed.barrier()
            spent[name].append(cpu_seconds(optimizers[name].step))
    if rank == 0:
        pipe.send({name: found[WARM_UP:] for name, found in spent.items()})
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


def prototype_file() -> Path | None:
    """Where a prototype would be; None where nothing says it."""
    said, data = os.environ.get("BERTJOB_ONEBIT_PROTOTYPE"), os.environ.get("BERTJOB_TEST_DATA")
    if said:
        return Path(said)
    return Path(data).resolve().parent / "reference" / "onebit_prototype.py" if data else None


def load_prototype() -> Callable[..., torch.optim.Optimizer] | None:
    """Its OneBitAdam, or None where there is no prototype."""
    file = prototype_file()
    if file is None or not file.is_file():
        return None
    spec = importlib.util.spec_from_file_location("onebit_prototype", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.OneBitAdam


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
