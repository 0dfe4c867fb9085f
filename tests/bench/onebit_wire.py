"""1-bit Adam against Adam on a real Slurm of four nodes whose links are as slow as Ethernet.

    sudo BERTJOB_TEST_DATA=… python -m tests.bench.onebit_wire

Starts the tests' embedded cluster, limits its links by tc (token buckets, both directions) and trains a small BERT by
both. Bytes are counted on the interfaces; a step's time goes from the end of one step to the end of the next, with four
ranks on this machine's cores. What comes of whole trainings follows from their shares of steps in full precision.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "on_slurm"))
from face import Face
from questions import first_questions
from slurm.lab import Lab, free_slot
from wire import SEEDS, less_to_send, trained

RATES = (1000, 100)
"""10^6 bits a second."""
MODEL = {"layers": 1, "hidden": 256}
"""8.7 million parameters, most of them embeddings: much to send beside little work, as on a GPU."""
FREEZE, STEPS = 8, 24


def main() -> int:
    """Measure and print."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data or os.geteuid() != 0:
        print("needs root, and BERTJOB_TEST_DATA: a folder with squad/train-v1.1.part.json and vocab.txt")
        return 2
    with tempfile.TemporaryDirectory() as folder, free_slot() as slot:
        squad = Path(folder)
        first_questions(Path(data, "squad", "train-v1.1.part.json"), squad / "train.json", 64)
        shutil.copy(Path(data, "vocab.txt"), squad)
        lab = Lab(slot)
        lab.start()
        os.environ.update(SLURM_CONF=str(lab.shape.slurm_conf), XDG_STATE_HOME=f"{folder}/state")
        try:
            for rate in RATES:
                lab.limit(rate)
                compare(lab, squad, rate)
        finally:
            lab.stop()
    return 0


def compare(lab: Lab, squad: Path, rate: int) -> None:
    """Train by both at one rate, and print."""
    place = squad / str(rate)
    place.mkdir()
    wire, run = trained(Face(place), lab, squad, **MODEL, steps=FREEZE, optimizer={"name": "adamw"})
    adam = wire.stage(run, 1, FREEZE)
    lab.wait_idle()
    compressed = {"name": "onebit-adam", "freeze_step": FREEZE}
    wire, run = trained(Face(place), lab, squad, **MODEL, steps=STEPS, optimizer=compressed)
    lab.wait_idle()
    full, bits = wire.stage(run, 1, FREEZE), wire.stage(run, FREEZE + 1, STEPS)
    print(f"{rate} Mbit/s; a step of a node:")
    for name, stage in (("Adam", adam), ("1-bit Adam before the freeze", full), ("and after it", bits)):
        print(f"  {name:<29} {stage.sent / 1e6:7.2f} MB {stage.seconds * 1000:6.0f} ms")
    print(f"  after the freeze {adam.sent / bits.sent:.1f} times less, {adam.seconds / bits.seconds:.1f} times as fast")
    for job, share in SEEDS.items():
        faster = adam.seconds / (share * full.seconds + (1 - share) * bits.seconds)
        less, half = less_to_send(adam.sent, bits.sent, share), less_to_send(adam.sent / 2, bits.sent, share)
        print(f"  {job}: {less:.1f} times less in all ({half:.1f} than in 16 bits), {faster:.1f} times as fast")


if __name__ == "__main__":
    sys.exit(main())
