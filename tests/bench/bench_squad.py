"""How much faster bertjob fine-tunes than a plain loop, on this machine's CPU.

The plain loop is what one writes first: transformers' BertForQuestionAnswering, every sample padded to 384 tokens,
float32, torch's AdamW. Against it runs what `bertjob run` runs, packed rows through the torch back end, in fp32 and in
bf16. All train the same MiniLM, with dropout, on the same real questions.

A machine is seldom quiet, so the ways take turns: in each round each takes one step on the same eight samples, and what
counts is the median over the rounds of the ratio of their CPU times. Run it with `BERTJOB_TEST_DATA=… make bench`; it
fails when a ratio misses its goal.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from transformers import BertForQuestionAnswering
from transformers.utils import logging as transformers_logging

from bertjob.config.job import Job, Model, Optimizer, Precision, Train
from bertjob.formats.squad import read_squad
from bertjob.rundir.world import World
from bertjob.train.backends.torch import TorchBackend
from bertjob.train.data.batch import Int64
from bertjob.train.data.tokenizer import load_tokenizer
from bertjob.train.device import has_bf16
from bertjob.train.model.heads import span_logits
from bertjob.train.model.initialize import build_question_answering
from bertjob.train.model.locate import model_folder
from bertjob.train.tasks.squad.batches import Order, packed, padded
from bertjob.train.tasks.squad.features import Features, Settings, make_features
from bertjob.train.tasks.squad.task import span_loss

ROUNDS, WARM_UP, SAMPLES = 10, 2, 8
GOALS = {"fp32": 2.5, "bf16": 4.0}
CPU = torch.device("cpu")
LR = 3e-5
Step = Callable[[Int64], None]


class Spent(NamedTuple):
    """Seconds that one step took, by the wall clock and of all cores' time."""

    wall: float
    cpu: float


def main() -> int:
    """Measure and print; 0 if all goals are met."""
    data = os.environ.get("BERTJOB_TEST_DATA")
    if not data:
        print("needs real SQuAD: set BERTJOB_TEST_DATA to a folder with squad/train-v1.1.part.json")
        return 2
    job = bench_job("fp32")
    questions = read_squad(Path(data) / "squad" / "train-v1.1.part.json")
    features = make_features(questions, load_tokenizer(model_folder(job)), Settings.of(job.train))
    order = Order(features.lengths, job.seed, SAMPLES, SAMPLES, WARM_UP + ROUNDS, "packed")
    ways: dict[str, Step] = {"plain": plain_loop(job, features), "fp32": bertjob("fp32", features)}
    if has_bf16(CPU):
        ways["bf16"] = bertjob("bf16", features)
    print(f"MiniLM, {len(features)} samples of {features.lengths.mean():.0f} tokens on average, {SAMPLES} a step")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {ROUNDS} rounds")
    rounds = [one_round(ways, order.micro_batches(step)[0], number=step) for step in range(WARM_UP + ROUNDS)]
    return report({name: [spent[name] for spent in rounds[WARM_UP:]] for name in ways})


def bench_job(precision: Precision) -> Job:
    """The shipped recipe's lengths and optimizer on MiniLM."""
    return Job(
        name="bench",
        precision=precision,
        model=Model(init="demo"),
        train=Train(global_batch=SAMPLES, micro_batch=SAMPLES),
        optimizer=Optimizer(lr=LR),
    )


def one_round(ways: dict[str, Step], samples: Int64, number: int) -> dict[str, Spent]:
    """Let each way take a step on the same samples; another one begins each round."""
    names = list(ways)
    turn = number % len(names)
    spent = {}
    for name in names[turn:] + names[:turn]:
        torch.manual_seed(number)
        wall, cpu = time.perf_counter(), time.process_time()
        ways[name](samples)
        spent[name] = Spent(time.perf_counter() - wall, time.process_time() - cpu)
    return spent


def plain_loop(job: Job, features: Features) -> Step:
    """Padded to 384, float32, nothing of bertjob's but the samples."""
    transformers_logging.set_verbosity_error()  # of the new head, which is what is wanted
    transformers_logging.disable_progress_bar()
    model = BertForQuestionAnswering.from_pretrained(model_folder(job)).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0.0)

    def step(samples: Int64) -> None:
        batch = padded(features, samples, job.train.max_seq_length)
        output = model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            token_type_ids=batch.token_type_ids,
            **batch.targets,
        )
        output.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def bertjob(precision: Precision, features: Features) -> Step:
    """Packed rows through the torch back end."""
    job = bench_job(precision)
    backend = TorchBackend(build_question_answering(job), job, World(0, 1, 0, 1, "bench"), CPU, 1)
    backend.model.train()

    def step(samples: Int64) -> None:
        batch = packed(features, samples)
        loss = span_loss(*span_logits(backend.model, batch), batch.targets)
        backend.backward(loss, last=True)
        backend.step(LR)

    return step


def report(spent: dict[str, list[Spent]]) -> int:
    """Print medians and ratios; 0 if all goals are met."""
    missed = 0
    for name, own in spent.items():
        wall = statistics.median(step.wall for step in own)
        line = f"{name:6} {1000 * wall:7.0f} ms a step {SAMPLES / wall:7.2f} samples/s"
        if name in GOALS:
            cpu = ratio(spent["plain"], own, lambda step: step.cpu)
            line += f"   x {cpu:.2f} by CPU time (goal {GOALS[name]})"
            line += f", x {ratio(spent['plain'], own, lambda step: step.wall):.2f} by the clock"
            missed += cpu < GOALS[name]
        print(line)
    return int(missed > 0)


def ratio(plain: list[Spent], own: list[Spent], of: Callable[[Spent], float]) -> float:
    """Median over the rounds."""
    return statistics.median(of(theirs) / of(ours) for theirs, ours in zip(plain, own, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
