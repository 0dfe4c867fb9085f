"""Whether 1-bit optimizers learn SQuAD as Adam does: final loss and F1 of MiniLM, as means of three seeds.

    sudo BERTJOB_TEST_DATA=… python -m tests.bench.onebit_squad [SEEDS [OPTIMIZER...]]

On the tests' embedded Slurm of four nodes, with links as slow as Ethernet, four ranks fine-tune on the first questions
of SQuAD with short paragraphs, by each optimizer from the same seeds. The final loss is the mean over the last steps.
Seeds differ by more than optimizers do: what is compared is the difference of the means, with the spread that seeds
alone make of it. Four ranks on two cores take half an hour a seed; onebit_wire says what steps take on slow networks.

1-bit LAMB is not among them: LAMB, and not Adam, is what it could be held against, and LAMB's trust ratios and learning
rates are those of pre-training with batches of thousands, not of 400 steps with 4 questions each.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "on_slurm"))
from face import Face
from questions import first_questions
from slurm.lab import Lab, free_slot

from bertjob.rundir.directory import RunDir

TRAIN, DEV, EPOCHS, BATCH = 800, 200, 2, 4
"""Questions, and passes over them: 400 steps."""
FREEZE = 100
"""After 25 % of the steps, as in squad-onebit, and no sooner than a variance with beta2 0.999 allows."""
LR = 2e-4
"""For a batch of 4, with a head that begins anew; squad-demo's 4e-4 is for 16."""
LAST = 40
"""Steps that make the final loss."""
RATE = 1000
"""10^6 bits a second, of each link and direction."""
HOURS = 3600.0
OPTIMIZERS: dict[str, dict[str, object]] = {
    "adamw": {},
    "onebit-adam": {"freeze_step": FREEZE},
    "zeroone-adam": {"freeze_step": FREEZE},
}


class Learned(NamedTuple):
    """What a training came to."""

    loss: float
    f1: float


def main(seeds: int = 3, *names: str) -> int:
    """Measure and print; 1 where an optimizer is worse than Adam by more than the spread."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data or os.geteuid() != 0:
        print("needs root, and BERTJOB_TEST_DATA: a folder with squad/train-v1.1.part.json and squad/dev-v1.1.json")
        return 2
    print(f"MiniLM, four nodes, {RATE} Mbit/s, {TRAIN} questions of SQuAD, {EPOCHS} epochs; F1 on {DEV}; {seeds} seeds")
    found: dict[str, list[Learned]] = {
        name: [] for name in ("adamw", *(names or sorted(OPTIMIZERS.keys() - {"adamw"})))
    }
    with tempfile.TemporaryDirectory() as folder, free_slot() as slot:
        first_questions(Path(data, "squad", "train-v1.1.part.json"), Path(folder, "train.json"), TRAIN)
        first_questions(Path(data, "squad", "dev-v1.1.json"), Path(folder, "dev.json"), DEV)
        lab = Lab(slot)
        lab.start()
        lab.limit(RATE)
        os.environ.update(SLURM_CONF=str(lab.shape.slurm_conf), XDG_STATE_HOME=f"{folder}/state")
        try:
            for seed in range(1, seeds + 1):
                for name, learned in found.items():
                    learned.append(learn(Face(Path(folder)), name, seed))
                    told = "loss {:.3f}, F1 {:.1f}".format(*learned[-1])
                    print(f"  {name}, seed {seed}: {told}", flush=True)
        finally:
            lab.stop()
    return max([report(name, found["adamw"], own) for name, own in found.items()])


def learn(bertjob: Face, optimizer: str, seed: int) -> Learned:
    """Train once."""
    job = bertjob.job(
        base="squad-demo",
        data={name: str(bertjob.folder / f"{name}.json") for name in ("train", "dev")},
        precision="fp32",
        seed=seed,
        train={"epochs": EPOCHS, "global_batch": BATCH, "micro_batch": BATCH // 4, "log_every": 1},
        optimizer={"name": optimizer, "lr": LR, **OPTIMIZERS[optimizer]},
        checkpoint={"every_minutes": None},
        resources={"nodes": 4, "tasks_per_node": 1, "gpus_per_node": 0, "time": "120"},
    )
    run = RunDir(bertjob.folder / f"{optimizer}-{seed}")
    bertjob("submit", job, "--run-dir", run.path, "--wait", timeout=HOURS)
    losses = [line["loss"] for line in map(json.loads, run.metrics.read_text().splitlines()) if "loss" in line]
    return Learned(statistics.fmean(losses[-LAST:]), json.loads(run.evaluation.read_text())["f1"])


def report(name: str, adam: list[Learned], own: list[Learned]) -> int:
    """Print the means; 1 where F1 is lower, or the loss higher, than Adam's by more than twice the spread."""
    worse = 0
    told = []
    for what, sign in (("loss", 1), ("f1", -1)):
        theirs, ours = ([getattr(one, what) for one in each] for each in (adam, own))
        difference = statistics.fmean(ours) - statistics.fmean(theirs)
        spread = statistics.fmean(statistics.pvariance(each) for each in (theirs, ours)) ** 0.5
        allowed = 2 * spread * (2 / len(own)) ** 0.5
        worse |= int(sign * difference > allowed)
        each = " ".join(f"{value:.2f}" for value in ours)
        told.append(f"{what} {statistics.fmean(ours):.2f} ({each}), {difference:+.2f} (noise {allowed:.2f})")
    print(f"  {name:<13} {'; '.join(told)}{'  WORSE' if worse else ''}", flush=True)
    return worse


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2]), *sys.argv[2:]))
