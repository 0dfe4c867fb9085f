"""How much faster bertjob pre-trains than transformers' Trainer, on this machine's CPU.

Both train the same BERT with the vocabulary of bert-base-uncased on the same pairs of sentences, with dropout and
AdamW. Trainer's step is its own loop's, with its DataCollatorForLanguageModeling: masks, padding to the longest sample
of a batch. bertjob's is masks, a packed row, back end.

The texts are Wikipedia's: paragraphs of SQuAD as documents, so that samples end where documents do. Books are printed
beside them, whose samples are about full: there only the head differs, which Trainer has at each token and bertjob at
masked ones. BERT-small has 4 layers of 512 (Turc et al., arXiv 1908.08962).

They take turns on the same samples; what counts is the median over the rounds of the ratio of their CPU times. The goal
is against Trainer's best setting: padding to the longest sample, in bf16 too where this CPU has it. With samples padded
to their full length, as by run_mlm.py's --pad_to_max_length, it is printed as well.
"""

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForPreTraining,
    DataCollatorForLanguageModeling,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from bertjob.cluster.training import prepare
from bertjob.config.job import Data, Job, Model, Optimizer, Precision, Pretraining, Train
from bertjob.rundir.messages import Preparation
from bertjob.rundir.world import World
from bertjob.train.backends.torch import TorchBackend
from bertjob.train.data.batch import Int64
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.device import has_bf16
from bertjob.train.model.heads import losses
from bertjob.train.model.initialize import build
from bertjob.train.tasks.pretraining.masking import Vocabulary
from bertjob.train.tasks.pretraining.samples import Samples
from bertjob.train.tasks.pretraining.source import open_sources
from bertjob.train.tasks.pretraining.task import Maker

GOAL = 2.0
CPU = torch.device("cpu")
LR = 1e-4
BOOKS = ("Dracula_345.txt", "Frankenstein_84.txt", "The-Voyage-of-the-Beagle_944.txt")
SQUAD = ("train-v1.1.part.json", "dev-v1.1.json")
Step = Callable[[Int64], None]


class Case(NamedTuple):
    """What is trained.

    Attributes:
        text: what it is trained on, a folder of shards.
        name: for people.
        layers: transformer layers.
        hidden: hidden size.
        length: tokens of a sample at most.
        samples: of a step.
        rounds: paired ones; one more before them warms up.
        goal: samples a second of Trainer's, so many times; None: printed only.
    """

    text: str
    name: str
    layers: int
    hidden: int
    length: int
    samples: int
    rounds: int
    goal: float | None


CASES = (
    Case("articles", "BERT-small", 4, 512, 128, 8, 6, GOAL),
    Case("articles", "BERT-small", 4, 512, 512, 8, 6, GOAL),
    Case("articles", "BERT-base", 12, 768, 128, 4, 2, None),
    Case("books", "BERT-small", 4, 512, 128, 8, 2, None),
)


def main() -> int:
    """Measure and print; 0 if all goals are met."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data:
        print("needs books: set BERTJOB_TEST_DATA to a folder with corpora/gutenberg and vocab.txt")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        texts = {
            "books": [Path(data, "corpora", "gutenberg", book) for book in BOOKS],
            "articles": [articles(Path(data, "squad"), Path(folder, "articles.jsonl"))],
        }
        for name, files in texts.items():
            vocab, prose = str(Path(data, "vocab.txt")), name == "articles"
            request = Preparation(tuple(map(str, files)), str(Path(folder, name)), vocab, None, prose, 0.1, 1)
            prepare(request, lambda told: None)
        return max([measure(case, Path(folder, case.text), Path(folder)) for case in CASES])


def articles(squad: Path, to: Path) -> Path:
    """The paragraphs of SQuAD as JSON lines, each a document."""
    sets = [json.loads((squad / name).read_text()) for name in SQUAD]
    paragraphs = [found["context"] for part in sets for article in part["data"] for found in article["paragraphs"]]
    to.write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs))
    return to


def measure(case: Case, shards: Path, folder: Path) -> int:
    """Paired rounds; 1 where the goal is missed."""
    ways: dict[str, Step] = {
        "padded": trainer(case, shards, folder, "fp32", padded=True),
        "longest": trainer(case, shards, folder, "fp32"),
        "bertjob": bertjob(case, shards, "fp32"),
    }
    if has_bf16(CPU):
        ways["longest, bf16"] = trainer(case, shards, folder, "bf16")
        ways["bertjob, bf16"] = bertjob(case, shards, "bf16")
    rounds = [one_round(ways, number, case.samples) for number in range(1 + case.rounds)][1:]
    lengths = open_sources(job_of(case, shards, "fp32"), load_tokenizer(shards / "tokenizer.json")).train.lengths
    mean = lengths(np.arange((1 + case.rounds) * case.samples)).mean()
    print(f"{case.name}, {case.text}, {case.length} tokens at most and {mean:.0f} on average: ", end="")
    print(f"{case.samples} samples a step, {torch.get_num_threads()} threads, {case.rounds} rounds")
    for name in ways:
        print(f"  {name:14} {case.samples / statistics.median(spent[name] for spent in rounds):7.2f} samples/CPU-s")
    ratios = {
        name: statistics.median(spent[name] / spent["bertjob" + name.removeprefix("longest")] for spent in rounds)
        for name in ways
        if name.startswith("longest")
    }
    padded = statistics.median(spent["padded"] / spent["bertjob"] for spent in rounds)
    said = ", ".join(f"x {ratio:.2f} of Trainer, {name}" for name, ratio in ratios.items())
    print(f"  {said} (goal {case.goal or 'none'}), x {padded:.2f} of Trainer, padded to {case.length}")
    return int(case.goal is not None and min(ratios.values()) < case.goal)


def one_round(ways: Mapping[str, Step], number: int, samples: int) -> dict[str, float]:
    """CPU seconds that each way takes for a step on the same samples; another one begins each round."""
    names = list(ways)
    turn = number % len(names)
    positions = np.arange(number * samples, (number + 1) * samples)
    spent = {}
    for name in names[turn:] + names[:turn]:
        torch.manual_seed(number)
        began = time.process_time()
        ways[name](positions)
        spent[name] = time.process_time() - began
    return spent


def job_of(case: Case, shards: Path, precision: Precision) -> Job:
    """The case as a job."""
    return Job(
        name="bench",
        task="pretrain",
        precision=precision,
        model=Model(layers=case.layers, hidden=case.hidden),
        data=Data(shards=str(shards)),
        train=Train(
            global_batch=case.samples, micro_batch=case.samples, max_seq_length=case.length, max_steps=1 + case.rounds
        ),
        pretraining=Pretraining(max_predictions_per_seq=case.length * 20 // 128),
        optimizer=Optimizer(lr=LR, weight_decay=0.01),
    )


def bertjob(case: Case, shards: Path, precision: Precision) -> Step:
    """What `bertjob run` does in a step."""
    job = job_of(case, shards, precision)
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    vocabulary = Vocabulary.of(tokenizer.tokenizer.get_vocab())
    maker = Maker(job, open_sources(job, tokenizer).train, vocabulary, job.seed)
    backend = TorchBackend(build(job, "masked and next"), job, World(0, 1, 0, 1, "bench"), CPU, 1)
    backend.model.train()

    def step(positions: Int64) -> None:
        found = losses(backend.model, maker.batch(positions))
        backend.backward(torch.stack(list(found.values())).sum(), last=True)
        backend.step(LR)

    return step


def trainer(case: Case, shards: Path, folder: Path, precision: Precision, *, padded: bool = False) -> Step:
    """What transformers' Trainer does in a step; samples are made beforehand, as a tokenised data set has them."""
    job = job_of(case, shards, precision)
    tokenizer: Any = AutoTokenizer.from_pretrained(shards)
    source = open_sources(job, load_tokenizer(shards / "tokenizer.json")).train
    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=case.layers,
        hidden_size=case.hidden,
        num_attention_heads=case.hidden // 64,
        intermediate_size=4 * case.hidden,
    )
    samples = source.samples(np.arange((1 + case.rounds) * case.samples))
    arguments = TrainingArguments(
        str(folder / "trainer"),
        per_device_train_batch_size=case.samples,
        max_steps=1 + case.rounds,
        train_sampling_strategy="sequential",
        use_cpu=True,
        bf16=precision == "bf16",
        learning_rate=LR,
        weight_decay=0.01,
        report_to=[],
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )
    turns = Turns()
    whole: Any = Trainer(
        model=BertForPreTraining(config),
        args=arguments,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15),
        train_dataset=rows(samples, tokenizer, case.length if padded else None),  # type: ignore[arg-type]  # a list does
        callbacks=[turns],
    )
    whole.remove_callback(PrinterCallback)
    threading.Thread(target=whole.train, daemon=True).start()
    return turns.step


def rows(samples: Samples, tokenizer: Any, length: int | None) -> list[dict[str, Any]]:
    """Samples as a data set of Trainer's, each padded to `length`."""
    cuts = samples.offsets[1:-1]
    parts = zip(
        np.split(samples.input_ids, cuts), np.split(samples.token_type_ids, cuts), samples.random_next, strict=True
    )
    made = [
        {"input_ids": ids.tolist(), "token_type_ids": types.tolist(), "next_sentence_label": int(label)}
        for ids, types, label in parts
    ]
    return [dict(tokenizer.pad(row, padding="max_length", max_length=length)) if length else row for row in made]


class Turns(TrainerCallback):
    """Lets Trainer's own loop, on a thread of its own, take one step when it is told to."""

    def __init__(self) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)

    def step(self, positions: Int64) -> None:
        """One step, from the collator to the optimizer; the first one sets up what Trainer needs."""
        self._go.release()
        assert self._done.acquire(timeout=600), "Trainer has stopped"

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Wait for the first turn."""
        self._go.acquire()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Say that it is done, and wait for the next turn, if there is one."""
        self._done.release()
        if state.global_step < args.max_steps:
            self._go.acquire()


if __name__ == "__main__":
    sys.exit(main())
