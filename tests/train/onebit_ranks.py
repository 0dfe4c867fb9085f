"""One rank of the tests of the compressed optimizers: goes through all cases, and writes what came out.

    python tests/train/onebit_ranks.py FOLDER RANK WORLD_SIZE

Each rank writes FOLDER/results-WORLD_SIZE-RANK.pt.
"""

import copy
import io
import math
import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from onebit_problem import FREEZE, SETTINGS, batches, network
from onebit_simulation import Lamb, Simulation, ZeroOne
from torch import Tensor, distributed, nn

from bertjob.errors import WorldError
from bertjob.train.optim import OneBitAdam, OneBitLamb, ZeroOneAdam
from bertjob.train.optim.onebit import CompressedOptimizer
from bertjob.train.optim.onebit.routes import TorchTransport, by_node

STEPS, HALF, FROZEN = 30, 21, 8
SHAPES = [(7, 5), (64,), (3,), (40, 30), (1,)]
DECAYS = [0.1, 0.1, 0.1, 0.1, 0.0]
UNTOUCHED = 30
"""Rows of the fourth tensor that have gradients from the beginning; the others only after the freeze."""
RARE = 2
"""Rows of the fourth tensor whose gradients are small until the freeze, and so their variance for ever."""
ADAM = {"betas": (0.9, 0.99), "eps": 1e-6}
AS_DEEPSPEED = {"bias_correction": False, "bounded": False}
"""What DeepSpeed does not do."""
ZERO_ONE = {"var_update_scaler": 2, "local_step_scaler": 6, "local_step_clipper": 4}
FULL_STEPS = {1, 2, 3, 5, 7}
"""Steps that update the variance by this scaler, up to the freeze."""
EXCHANGES = {9, 10, 11, 12, 13, 14, 16, 18, 20, 24, 28}
"""Steps after the freeze that exchange: each, each second, each fourth."""
KINDS: dict[str, Callable[..., CompressedOptimizer]] = {
    "adam": lambda groups, **more: OneBitAdam(groups, **ADAM, **{"freeze_step": FROZEN, **more}),
    "lamb": lambda groups, **more: OneBitLamb(groups, **ADAM, **{"freeze_step": FROZEN, **more}),
    "zeroone": lambda groups, **more: ZeroOneAdam(groups, **ADAM, **ZERO_ONE, **{"freeze_step": FROZEN, **more}),
}


def lr(step: int) -> float:
    """Of step `step`, from 0."""
    return 0.02 * (1 + 0.5 * math.sin(step))


def weights(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)) for shape in SHAPES]


def gradients(step: int, rank: int) -> list[Tensor]:
    """What all ranks see alike, and as much again of each one's own."""
    shared, own = torch.Generator().manual_seed(step), torch.Generator().manual_seed(1000 + 50 * step + rank)
    drawn = [sum(torch.randn(shape, generator=draw, dtype=torch.float64) for draw in (shared, own)) for shape in SHAPES]
    if step < FROZEN + 2:
        drawn[3][UNTOUCHED:] = 0
    if step < FROZEN:
        drawn[3][:RARE] *= 0.01
    return drawn


def simulate(kind: str, ranks: int, steps: int = STEPS) -> list[list[Tensor]]:
    """Every rank's weights after that many steps, in float64."""
    return simulation(kind, ranks, steps).weights


def simulation(kind: str, ranks: int, steps: int = STEPS) -> Simulation:
    """That many steps in float64."""
    start = [weight.detach().flatten() for weight in weights()]
    found: Simulation
    if kind == "zeroone":
        found = ZeroOne(start, ranks, DECAYS, FROZEN, FULL_STEPS, EXCHANGES)
    else:
        found = (Lamb if kind == "lamb" else Simulation)(start, ranks, DECAYS, FROZEN)
    for step in range(steps):
        found.take_in([[own.flatten() for own in gradients(step, rank)] for rank in range(ranks)], lr(step))
    return found


def build(kind: str, dtype: torch.dtype = torch.float64, **more: Any) -> tuple[list[nn.Parameter], CompressedOptimizer]:
    tensors = weights(dtype)
    groups = [{"params": tensors[:4], "weight_decay": 0.1}, {"params": tensors[4:], "weight_decay": 0.0}]
    return tensors, KINDS[kind](groups, lr=lr(0), **more)


def take_steps(tensors: list[nn.Parameter], optimizer: CompressedOptimizer, steps: range) -> list[int]:
    """What was sent in each."""
    rank, ranks = optimizer._transport.rank, optimizer.ranks
    sent = []
    for step in steps:
        own = gradients(step, rank)
        if not optimizer.local_gradients:
            everyone = [gradients(step, other) for other in range(ranks)]
            own = [torch.stack(found).mean(0) for found in zip(*everyone, strict=True)]
        for tensor, gradient in zip(tensors, own, strict=True):
            tensor.grad = gradient.to(tensor.dtype)
        for group in optimizer.param_groups:
            group["lr"] = lr(step)
        optimizer.step()
        sent.append(optimizer.bytes_sent)
    return sent


def straight_and_resumed(kind: str) -> dict[str, Any]:
    """All steps at one go; then the last ones again from a state that was written in between."""
    tensors, optimizer = build(kind, check_every=1)
    sent = take_steps(tensors, optimizer, range(HALF))
    with optimizer.common_weights():
        common = [tensor.detach().clone() for tensor in tensors]
    state = written((common, optimizer.state_dict(), optimizer.own_state_dict()))
    sent += take_steps(tensors, optimizer, range(HALF, STEPS))
    resumed, again = build(kind)
    for tensor, value in zip(resumed, state[0], strict=True):
        tensor.data.copy_(value)
    again.load_state_dict(state[1])
    fits = again.load_own_state_dict(state[2])
    take_steps(resumed, again, range(HALF, STEPS))
    return {
        "weights": [tensor.detach() for tensor in tensors],
        "sent": sent,
        "frozen_after": optimizer.frozen_after,
        "common": common,
        "fits": fits,
        "resumed": [tensor.detach() for tensor in resumed],
    }


def written(state: Any) -> Any:
    """To a file and back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def another_ranks_state(kind: str) -> dict[str, Any]:
    """Go on with what the next rank has left."""
    tensors, optimizer = build(kind)
    take_steps(tensors, optimizer, range(HALF))
    with optimizer.common_weights():
        common = [tensor.detach().clone() for tensor in tensors]
    own = optimizer.own_state_dict()
    own["rank"] = (own["rank"] + 1) % own["ranks"]
    resumed, again = build(kind, check_every=1)
    for tensor, value in zip(resumed, common, strict=True):
        tensor.data.copy_(value)
    again.load_state_dict(optimizer.state_dict())
    fits = again.load_own_state_dict(own)
    at_zero = all(not error.any() for error in again.own_state_dict()["errors"])
    take_steps(resumed, again, range(HALF, STEPS))
    return {"fits": fits, "at_zero": at_zero}


def float32() -> list[Tensor]:
    tensors, optimizer = build("adam", torch.float32)
    take_steps(tensors, optimizer, range(STEPS))
    return [tensor.detach() for tensor in tensors]


def settled() -> int | None:
    """Gradients whose size falls until step 40; one rank computes the norm a little differently."""
    tensor = nn.Parameter(torch.zeros(64))
    optimizer = OneBitAdam([tensor], lr=1e-3, betas=(0.9, 0.9), freeze_step="auto")
    for step in range(90):
        tensor.grad = torch.full((64,), max(1.0, 2.0 - step / 40))
        optimizer.step()
    return optimizer.frozen_after


def common_norm() -> tuple[float, float]:
    """In a full and in a compressed step, in which each rank has a gradient for a value of its own."""
    tensor = nn.Parameter(torch.ones(8))
    optimizer = OneBitAdam([tensor], lr=0.0, freeze_step=1)
    own = torch.tensor(8.0)
    full = optimizer.norm_over_ranks(own).item()
    tensor.grad = torch.ones(8)
    optimizer.step()
    tensor.grad = torch.zeros(8)
    tensor.grad[distributed.get_rank()] = own
    return full, optimizer.norm_over_ranks(own).item()


def on_one_node(kind: str) -> dict[str, Any]:
    """Nodes would exchange bits, and there is one; beside it, what never freezes."""
    tensors, optimizer = build(kind, hierarchical=True, check_every=1)
    sent = take_steps(tensors, optimizer, range(STEPS))
    plain, never = build("adam", freeze_step=STEPS + 1)
    take_steps(plain, never, range(STEPS))
    return {"frozen_after": optimizer.frozen_after, "sent": sent, "weights": tensors, "plain": plain}


def refusal(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except WorldError as error:
        return str(error)
    return ""


def other_settings() -> None:
    last = distributed.get_rank() == distributed.get_world_size() - 1
    build("adam", freeze_step=FROZEN + last)[1].meet()


def other_groups() -> None:
    """The last rank has one group more than the others."""
    tensors = [nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(8))]
    last = distributed.get_rank() == distributed.get_world_size() - 1
    OneBitAdam([{"params": [tensor]} for tensor in tensors[: 1 + last]], lr=0.5, freeze_step=1).meet()


def without_elements(kind: str) -> dict[str, Any]:
    """Five steps of a tensor beside one that is empty."""
    full, empty = nn.Parameter(torch.ones(70)), nn.Parameter(torch.ones(0, 3))
    optimizer = KINDS[kind]([empty, full], lr=0.01, freeze_step=2, check_every=1)
    for _ in range(5):
        full.grad, empty.grad = torch.ones(70), torch.ones(0, 3)
        optimizer.step()
    state = written(optimizer.state_dict())
    optimizer.load_state_dict(state)
    return {"full": full.detach(), "sent": optimizer.bytes_sent}


def other_weights() -> None:
    tensors, optimizer = build("lamb", check_every=5)
    take_steps(tensors, optimizer, range(11))
    if distributed.get_rank() == 1:
        tensors[1].data[3] += 1e-9
    take_steps(tensors, optimizer, range(11, STEPS))


def hierarchical(kind: str) -> dict[str, Any]:
    """Nodes of two ranks each; what has been said and what has not are together what there was to say."""
    tensors, optimizer = build(kind, hierarchical=True, check_every=1)
    sent = take_steps(tensors, optimizer, range(HALF))
    state, own = written((optimizer.state_dict(), optimizer.own_state_dict()))
    copies = [tensor.detach().clone() for tensor in tensors]
    take_steps(tensors, optimizer, range(HALF, STEPS))
    resumed, again = build(kind, hierarchical=True)
    for tensor, value in zip(resumed, copies, strict=True):
        tensor.data.copy_(value)
    again.load_state_dict(state)
    again.load_own_state_dict(own)
    take_steps(resumed, again, range(HALF, STEPS))
    flat_fits = None
    if kind == "adam":
        _, flat = build(kind)
        flat.load_state_dict(state)
        flat_fits = flat.load_own_state_dict(own)
    return {
        "weights": [tensor.detach() for tensor in tensors],
        "sent": sent,
        "resumed": [tensor.detach() for tensor in resumed],
        "flat_fits": flat_fits,
    }


def against_deepspeed() -> list[float]:
    """The mean losses of the recorded training; DeepSpeed's first step changes nothing."""
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    model = network()
    optimizer = OneBitAdam(model.parameters(), freeze_step=FREEZE - 1, **AS_DEEPSPEED, **SETTINGS)
    losses = []
    for step, (inputs, classes) in enumerate(batches(rank, ranks)):
        loss = nn.functional.cross_entropy(model(inputs), classes)
        optimizer.zero_grad()
        loss.backward()
        if not optimizer.local_gradients:
            for parameter in model.parameters():
                distributed.all_reduce(parameter.grad)
                parameter.grad /= ranks
        if step > 0:
            optimizer.step()
        mean = loss.detach().clone()
        distributed.all_reduce(mean)
        losses.append(mean.item() / ranks)
    return losses


def main() -> None:
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / f"store-{size}"), size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    results: dict[str, Any] = {kind: straight_and_resumed(kind) for kind in KINDS}
    results["float32"] = float32()
    results["another"] = {kind: another_ranks_state(kind) for kind in KINDS}
    results["settled"] = settled()
    results["norm"] = common_norm()
    results["on one node"] = {kind: on_one_node(kind) for kind in ("adam", "zeroone")}
    results["other settings"] = refusal(other_settings)
    results["other groups"] = refusal(other_groups)
    results["without elements"] = {kind: without_elements(kind) for kind in KINDS}
    results["other weights"] = refusal(other_weights)
    if size != 3:
        results["deepspeed"] = against_deepspeed()
    if size == 4:
        socket.gethostname = lambda: f"node{rank % 2}"  # ranks dealt out one by one
        results["hierarchical"] = {kind: hierarchical(kind) for kind in KINDS}
        host = "big" if rank < 3 else "small"
        results["uneven"] = refusal(lambda: by_node(TorchTransport(), torch.device("cpu"), host))
    torch.save(copy.deepcopy(results), folder / f"results-{size}-{rank}.pt")
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # gloo's threads may abort an orderly exit


if __name__ == "__main__":
    main()
