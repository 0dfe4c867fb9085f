"""What the ranks do of the toy task: the protocol of bertjob.train.tasks, in sixty lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from toy_task import lines
from transformers import BertConfig, BertForSequenceClassification

from bertjob.config.checks.batch_size import total_steps
from bertjob.config.job import Job
from bertjob.rundir.held_run import HeldRun
from bertjob.train.data.batch import Batch
from bertjob.train.distributed.ranks import Ranks


@dataclass(frozen=True)
class RedThings:
    job: Job
    held: HeldRun
    ranks: Ranks
    words: list[str]
    model: nn.Module

    @classmethod
    def from_job(cls, job: Job, held: HeldRun, ranks: Ranks, device: torch.device) -> "RedThings":
        words = Path(job.model.vocab).read_text().split()
        sizes = {"hidden_size": job.model.hidden, "num_hidden_layers": job.model.layers, "intermediate_size": 32}
        with torch.random.fork_rng():
            torch.manual_seed(job.seed)
            config = BertConfig(vocab_size=len(words), num_attention_heads=job.model.heads, num_labels=2, **sizes)
            model = BertForSequenceClassification(config)
        return cls(job, held, ranks, words, model)

    @property
    def total_steps(self) -> int:
        train = self.job.train
        return total_steps(len(lines(self.job.data.train)), train.epochs, train.global_batch, train.max_steps)

    def micro_batches(self, step: int, rank: int, world_size: int) -> Sequence[Batch]:
        train, samples = self.job.train, lines(self.job.data.train)
        first = step * train.global_batch
        picked = [samples[number % len(samples)] for number in range(first, first + train.global_batch)]
        shares = [picked[at : at + train.micro_batch] for at in range(0, len(picked), train.micro_batch)]
        return [self.batch(share) for share in shares[rank::world_size]]

    def batch(self, samples: Sequence[tuple[int, list[str]]]) -> Batch:
        lengths = [len(words) for _, words in samples]
        ids = torch.zeros(len(samples), max(lengths), dtype=torch.int64)
        for row, (_, words) in zip(ids, samples, strict=True):
            row[: len(words)] = torch.tensor([self.words.index(word) for word in words])
        positions = torch.arange(ids.size(1)).expand_as(ids)
        mask = (positions < torch.tensor(lengths)[:, None]).long()
        labels = torch.tensor([label for label, _ in samples])
        return Batch(ids, torch.zeros_like(ids), positions, tuple(lengths), mask, {"labels": labels})

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        scores = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        return functional.cross_entropy(scores.float(), batch.targets["labels"])

    @torch.no_grad()
    def evaluate(self, model: nn.Module, *, final: bool = True) -> Mapping[str, float]:
        model.eval()
        batch = self.batch(lines(self.job.data.dev))
        scores = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        model.train()
        if not self.ranks.first:
            return {}
        right = (scores.argmax(-1) == batch.targets["labels"]).double().mean().item()
        entropy = functional.cross_entropy(scores.float(), batch.targets["labels"]).item()
        metrics = {"chance": 50.0, "entropy": entropy, "accuracy": 100 * right}
        if final:
            self.held.write_json(self.held.there.evaluation, {**metrics, "lines": batch.size})
        return metrics

    def save_tokenizer(self, folder: str) -> None:
        (Path(folder) / "vocab.txt").write_text("\n".join(self.words) + "\n")
