"""Whether 1-bit optimizers learn SQuAD as Adam does: final loss and F1 of MiniLM, as means of three seeds.

    BERTJOB_TEST_DATA=… python -m tests.bench.onebit_squad [SEEDS [OPTIMIZER...]]

Two ranks fine-tune on the first questions of SQuAD with short paragraphs, by each optimizer from the same seeds, by
the command line as a user would. The final loss is the mean over the last steps. Seeds differ by more than optimizers
do: what is compared is the difference of the means, with the spread that seeds alone make of it.

1-bit LAMB is not among them: LAMB, and not Adam, is what it could be held against, and LAMB's trust ratios and learning
rates are those of pre-training with batches of thousands, not of 150 steps with 8 questions each.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from questions import first_questions

TRAIN, DEV, EPOCHS, BATCH = 600, 200, 2, 8
"""Questions, and passes over them: 150 steps."""
FREEZE = 34
"""As late as in squad-onebit: after 22 % of the steps."""
LAST = 20
"""Steps that make the final loss."""
OPTIMIZERS = {
    "adamw": [],
    "onebit-adam": [f"optimizer.freeze_step={FREEZE}"],
    "zeroone-adam": [f"optimizer.freeze_step={FREEZE}"],
}


class Learned(NamedTuple):
    """What a training came to."""

    loss: float
    f1: float


def main(seeds: int = 3, *names: str) -> int:
    """Measure and print; 1 where an optimizer is worse than Adam by more than the spread."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data:
        print("needs real SQuAD: set BERTJOB_TEST_DATA to a folder with squad/train-v1.1.part.json")
        return 2
    print(f"MiniLM, two ranks, {TRAIN} questions of SQuAD, {EPOCHS} epochs; F1 on {DEV}; {seeds} seeds")
    found: dict[str, list[Learned]] = {
        name: [] for name in ("adamw", *(names or sorted(OPTIMIZERS.keys() - {"adamw"})))
    }
    with tempfile.TemporaryDirectory() as folder:
        first_questions(Path(data, "squad", "train-v1.1.part.json"), Path(folder, "train.json"), TRAIN)
        first_questions(Path(data, "squad", "dev-v1.1.json"), Path(folder, "dev.json"), DEV)
        for seed in range(1, seeds + 1):
            for name, learned in found.items():
                learned.append(learn(Path(folder), name, seed))
                print(f"  {name}, seed {seed}: loss {learned[-1].loss:.3f}, F1 {learned[-1].f1:.1f}", flush=True)
    return max([report(name, found["adamw"], own) for name, own in found.items()])


def learn(folder: Path, optimizer: str, seed: int) -> Learned:
    """Train once."""
    run = folder / f"{optimizer}-{seed}"
    settings = [
        *(f"data.{name}={folder / name}.json" for name in ("train", "dev")),
        *(f"train.{key}={value}" for key, value in {"epochs": EPOCHS, "global_batch": BATCH, "log_every": 1}.items()),
        *(
            "precision=fp32",
            "train.micro_batch=4",
            "resources.tasks_per_node=2",
            "checkpoint.every_minutes=null",
            f"seed={seed}",
        ),
        *(f"optimizer.name={optimizer}", *OPTIMIZERS[optimizer]),
    ]
    command = [str(Path(sys.executable).with_name("bertjob")), "run", "squad-demo", "--run-dir", str(run)]
    words = [word for setting in settings for word in ("--set", setting)]
    subprocess.run([*command, *words], cwd=folder, check=True, capture_output=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    return Learned(statistics.fmean(losses[-LAST:]), json.loads((run / "eval.json").read_text())["f1"])


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
