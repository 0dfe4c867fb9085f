"""1-bit Adam, 1-bit LAMB and 0/1 Adam on 2, 3 and 4 ranks over gloo, against float64 simulations and DeepSpeed."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from onebit_ranks import (
    DECAYS,
    EXCHANGES,
    FROZEN,
    FULL_STEPS,
    HALF,
    KINDS,
    SHAPES,
    STEPS,
    UNTOUCHED,
    lr,
    simulate,
    simulation,
    weights,
)

RANKS = Path(__file__).with_name("onebit_ranks.py")
RECORDED = Path(__file__).with_name("onebit_deepspeed.json")
pytestmark = pytest.mark.slow
EACH = [(size, kind) for size in (2, 3, 4) for kind in KINDS]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[int, list[dict[str, Any]]]:
    """Every rank's results, by world size."""
    folder = tmp_path_factory.mktemp("onebit")
    return {size: run_ranks(folder, size) for size in (2, 3, 4)}


@pytest.fixture(scope="module")
def simulated() -> dict[tuple[int, str], list[list[torch.Tensor]]]:
    return {(size, kind): simulate(kind, size) for size, kind in EACH}


def run_ranks(folder: Path, size: int) -> list[dict[str, Any]]:
    logs = [folder / f"log-{size}-{rank}" for rank in range(size)]
    ranks = [
        subprocess.Popen(
            [sys.executable, RANKS, folder, str(rank), str(size)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        codes = [rank.wait(timeout=600) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert codes == [0] * size, "\n".join(log.read_text() for log in logs)
    return [torch.load(folder / f"results-{size}-{rank}.pt") for rank in range(size)]


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


def distance(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    return max((one.flatten() - other).abs().max().item() for one, other in zip(some, others, strict=True))


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_weights_are_those_of_the_simulation(results, simulated, size, kind):
    for rank, result in enumerate(results[size]):
        assert distance(result[kind]["weights"], simulated[size, kind][rank]) < 1e-10
        assert result[kind]["frozen_after"] == FROZEN


@pytest.mark.parametrize("size", [2, 3, 4])
def test_float32_differs_by_rounding(results, simulated, size):
    assert distance(results[size][0]["float32"], simulated[size, "adam"][0]) < 1e-4


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_all_ranks_have_the_same_weights_to_the_bit(results, size, kind):
    first = results[size][0][kind]
    for result in results[size]:
        assert same(result[kind]["common"], first["common"])
        if kind != "zeroone":  # which ends amid local steps
            assert same(result[kind]["weights"], first["weights"])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_the_common_weights_of_local_steps_are_the_mean(results, size):
    until = simulate("zeroone", size, HALF)
    means = [torch.stack(own).mean(0) for own in zip(*until, strict=True)]
    assert distance(results[size][0]["zeroone"]["common"], means) < 1e-10
    assert distance([own.view(-1) for own in until[0]], means) > 1e-6


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(results, size, kind):
    for result in results[size]:
        assert result[kind]["fits"]
        assert same(result[kind]["resumed"], result[kind]["weights"])


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_another_rank_s_errors_are_not_taken(results, size, kind):
    assert all(result["another"][kind] == {"fits": False, "at_zero": True} for result in results[size])


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_bytes_are_those_of_the_formula(results, size, kind):
    """A float64 a gradient in a full step; else a float64 for each tensor's scale, and a bit a value."""
    values = [torch.Size(shape).numel() for shape in SHAPES]
    full = 2 * (size - 1) * 8 * sum(values) // size
    bits = sum(-(-value // (8 * size)) for value in values)
    compressed = 2 * (size - 1) * (8 * len(SHAPES) + -(-bits // 8) * 8)
    for step, sent in enumerate(results[size][0][kind]["sent"], start=1):
        if step in FULL_STEPS or (kind != "zeroone" and step <= FROZEN):
            assert sent == full
        else:
            exchanged = kind != "zeroone" or step <= FROZEN or step in EXCHANGES
            assert sent == compressed * exchanged


@pytest.mark.parametrize("kind", ["adam", "zeroone"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_what_had_no_gradient_before_the_freeze_moves_by_decay_alone(results, size, kind):
    """In local steps too: 0/1 Adam ends amid some, and `common` is the ranks' mean amid others."""
    began = weights()[3].detach()[UNTOUCHED:]
    for result in results[size]:
        for name, steps in (("weights", STEPS), ("common", HALF)):
            factors = result[kind][name][3][UNTOUCHED:] / began
            expected = math.prod(1 - DECAYS[3] * lr(step) for step in range(steps))
            assert torch.allclose(factors, torch.full_like(factors, expected))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_variance_that_has_settled_is_frozen_at_the_same_step_on_all_ranks(results, size):
    """The gradients stop falling at step 40; ten steps later the variance has almost forgotten."""
    frozen = {result["settled"] for result in results[size]}
    assert len(frozen) == 1
    assert 50 < frozen.pop() < 80


@pytest.mark.parametrize("size", [2, 3, 4])
def test_in_compressed_steps_all_ranks_clip_by_the_norm_of_the_mean(results, size):
    for result in results[size]:
        assert result["norm"] == (8, pytest.approx(8 / size**0.5, rel=1e-6))


@pytest.mark.parametrize("kind", ["adam", "zeroone"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_where_nodes_exchange_bits_and_there_is_one_it_is_plain_adam(results, size, kind):
    found = results[size][0]["on one node"][kind]
    assert found["frozen_after"] is None
    assert len(set(found["sent"])) == 1  # all-reduces
    assert all(torch.allclose(one, other) for one, other in zip(found["weights"], found["plain"], strict=True))


@pytest.mark.parametrize("size", [2, 3, 4])
def test_other_settings_are_told_on_all_ranks(results, size):
    line = (
        f"rank {size - 1} has freeze_step {FROZEN + 1}, rank 0 has {FROZEN}: "
        "all ranks of a 1-bit optimizer need the same settings"
    )
    assert [result["other settings"] for result in results[size]] == [line] * size


@pytest.mark.parametrize("size", [2, 3, 4])
def test_another_number_of_groups_is_told_on_all_ranks(results, size):
    line = (
        f"rank {size - 1} has lr of group 1 0.5, rank 0 has none: all ranks of a 1-bit optimizer need the same settings"
    )
    assert [result["other groups"] for result in results[size]] == [line] * size


@pytest.mark.parametrize(("size", "kind"), EACH)
def test_a_tensor_without_elements_is_left_out(results, size, kind):
    for result in results[size]:
        found = result["without elements"][kind]
        assert found["full"].max() < 1
        assert same([found["full"]], [results[size][0]["without elements"][kind]["full"]])
        assert found["sent"] == 2 * (size - 1) * (8 + 8)


@pytest.mark.parametrize("size", [2, 3, 4])
def test_other_weights_are_told_on_all_ranks_at_the_next_check(results, size):
    line = (
        "after step 15 rank 1 has other weights than rank 0 in 1 of 5 tensors: their weights must be the same, "
        "bit by bit"
    )
    assert [result["other weights"] for result in results[size]] == [line] * size


@pytest.mark.parametrize("size", [2, 4])
def test_losses_are_those_of_deepspeed_to_five_digits(results, size):
    """tests/train/record_deepspeed_onebit.py has recorded them."""
    recorded = json.loads(RECORDED.read_text())["losses"][str(size)]
    ours = results[size][0]["deepspeed"]
    assert len(ours) == len(recorded) == 200
    assert recorded[-1] < 0.9 * recorded[0]
    assert ours == pytest.approx(recorded, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_two_nodes_of_two_ranks_agree_and_resume_to_the_bit(results, kind):
    found = [result["hierarchical"][kind] for result in results[4]]
    assert all(same(own["weights"], own["resumed"]) for own in found)
    if kind != "zeroone":
        assert all(same(own["weights"], found[0]["weights"]) for own in found)


def test_between_nodes_goes_half_as_much_and_the_training_is_much_the_same(results, simulated):
    found, alone = results[4][0]["hierarchical"]["adam"], results[4][0]["adam"]
    assert found["sent"][-1] < 0.5 * alone["sent"][HALF - 1]
    moved = distance(simulated[4, "adam"][0], [weight.detach().flatten() for weight in weights()])
    assert distance(found["weights"], simulated[4, "adam"][0]) < 0.5 * moved


def test_errors_of_another_route_are_not_taken(results):
    assert [result["hierarchical"]["adam"]["flat_fits"] for result in results[4]] == [False] * 4


def test_nodes_of_different_sizes_are_refused(results):
    line = "hierarchical 1-bit exchange needs as many ranks on each node, here are 3, 1"
    assert [result["uneven"] for result in results[4]] == [line] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_steps_of_all_kinds_were_taken(kind):
    assert simulation(kind, 2).held > 10  # values with a small variance, of which one bit said too much
    assert HALF not in EXCHANGES
    assert STEPS not in EXCHANGES
