"""1-bit Adam on four nodes whose links carry 100 Mbit/s: what goes over them, counted on the interfaces.

tests/bench/onebit_wire.py does so at 1 Gbit/s as well, beside AdamW, and compares the time of the steps.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from face import Face
from safetensors import safe_open
from slurm.lab import Lab
from wire import SEEDS, less_to_send, trained

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

FREEZE, STEPS = 5, 15


@pytest.fixture
def slow(cluster: Lab) -> Iterator[Lab]:
    """The cluster with limited links."""
    cluster.limit(100)
    yield cluster
    cluster.limit(None)


def test_a_compressed_step_sends_one_bit_where_adam_sends_32(bertjob: Face, squad: Path, slow: Lab) -> None:
    """Before the freeze it is Adam, whose gradients a ring adds up: 2 x 3/4 x 4 bytes a parameter from each node."""
    optimizer = {"name": "onebit-adam", "freeze_step": FREEZE}
    wire, run = trained(bertjob, slow, squad, layers=2, hidden=128, steps=STEPS, optimizer=optimizer)
    adam, bits = wire.stage(run, 1, FREEZE), wire.stage(run, FREEZE + 1, STEPS)
    print(f"{adam.sent / 1e6:.2f} MB a node and step, {adam.seconds * 1000:.0f} ms before the freeze")
    print(f"{bits.sent / 1e6:.2f} MB, {bits.seconds * 1000:.0f} ms after it: {adam.sent / bits.sent:.1f} times less")
    with safe_open(run.model / "model.safetensors", "np") as weights:
        parameters = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    assert adam.sent == pytest.approx(2 * 3 / 4 * 4 * parameters, rel=0.03)
    assert 25 < adam.sent / bits.sent < 33
    for job, share in SEEDS.items():
        whole, half = less_to_send(adam.sent, bits.sent, share), less_to_send(adam.sent / 2, bits.sent, share)
        print(f"  {job}: {whole:.1f} times less in all; {half:.1f} times less than gradients in 16 bits")
    assert less_to_send(adam.sent, bits.sent, SEEDS["pretrain-onebit"]) > 5
